// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"ebpf-upgrader/internal/control"
)

// withService runs a query of the service, and adds to its error what to do.
func (a *app) withService(query func(*control.Client) error) error {
	err := query(control.NewClient(a.opts.socketPath()))
	switch {
	case errors.Is(err, control.ErrNoService):
		return exitWith(exitNoSource, fmt.Errorf("no service listens on %s: start one with run, or give its --socket", a.opts.socketPath()))
	case errors.Is(err, control.ErrDenied):
		return fmt.Errorf("%w: run this as root, or as the user that the service runs as", err)
	}
	return err
}

// addClientFlags adds the flags of the commands that query a running service.
func (a *app) addClientFlags(f *pflag.FlagSet) {
	a.opts.addRunDir(f)
	a.opts.addSocket(f)
}
