// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"context"
	"errors"
	"fmt"
	"os/user"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/control"
)

// sockets are where a service is looked for, the most preferred first: where the flags say, or that of this user and then
// that of the host.
func (o *options) sockets() []string {
	own := o.socketPath()
	if o.isSocketGiven() || own == hostSocket {
		return []string{own}
	}
	return []string{own, hostSocket}
}

func (o *options) isSocketGiven() bool { return o.socket != "" || o.runDir != "" }

// findService returns a client of the first service that can be reached. Only a service of root or of this user is
// believed, unless the flags name the socket.
func (a *app) findService(ctx context.Context) (*control.Client, error) {
	sockets := a.opts.sockets()
	for _, path := range sockets {
		c := control.NewClient(path)
		c.Timeout, c.OnlyTrusted = a.opts.timeout, !a.opts.isSocketGiven()
		err := c.Reach(ctx)
		switch {
		case err == nil:
			return c, nil
		case !errors.Is(err, control.ErrNoService) && !errors.Is(err, control.ErrNotTrusted):
			return nil, whatToDo(path, err)
		}
	}
	return nil, exitWith(exitNoSource, noService{strings.Join(sockets, " or ")})
}

// noService is the error that no service listens where it was looked for.
type noService struct{ where string }

func (e noService) Error() string {
	return "no service listens on " + e.where + ": start one with run, or give its --socket"
}

func (e noService) Unwrap() error { return control.ErrNoService }

// withService runs a query of the service, and adds to its error what to do.
func (a *app) withService(ctx context.Context, query func(*control.Client) error) error {
	c, err := a.findService(ctx)
	if err != nil {
		return err
	}
	return whatToDo(c.Path(), query(c))
}

// whatToDo adds to an error of the service on path what the user can do.
func whatToDo(path string, err error) error {
	switch {
	case errors.Is(err, control.ErrNoService):
		return exitWith(exitNoSource, noService{path})
	case errors.Is(err, control.ErrDenied):
		return fmt.Errorf("%w: run this as root%s, or as the user that the service runs as", err, orMember(path))
	}
	return err
}

// orMember names the group of a socket, if it is not root's.
func orMember(path string) string {
	var socket unix.Stat_t
	if unix.Stat(path, &socket) != nil || socket.Gid == 0 {
		return ""
	}
	name := strconv.FormatUint(uint64(socket.Gid), 10)
	if g, err := user.LookupGroupId(name); err == nil {
		name = g.Name
	}
	return fmt.Sprintf(", to read also as a member of the group %q", name)
}

// nextService says that the service has ended, and that the command waits.
func (m *messages) nextService() {
	fmt.Fprintln(m.stderr, "ebpf-upgrader: the service has ended; waiting for the next one")
}
