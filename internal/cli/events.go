// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"ebpf-upgrader/internal/control"
)

func newEvents(a *app) *cobra.Command {
	var follow bool
	var from uint64
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show the events of the running service; --follow shows further ones as they happen",
		Example: `  ebpf-upgrader events --follow
  ebpf-upgrader events -o json | jq 'select(.kind == "server" and .state == "crashed")'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := a.withService(func(c *control.Client) error { return c.Events(cmd.Context(), from, follow, a.printEvent) })
			if follow && (err == nil || errors.Is(err, io.ErrUnexpectedEOF)) {
				err = errors.New("the service has ended")
			}
			return unlessInterrupted(cmd.Context(), err)
		},
	}
	a.addClientFlags(cmd.Flags())
	a.opts.addOutput(cmd.Flags())
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "show further events until interrupted")
	cmd.Flags().Uint64Var(&from, "from", 0, "the number of the first event; 0 is the oldest one that is kept")
	return cmd
}

// unlessInterrupted returns no error for a command that was interrupted.
func unlessInterrupted(ctx context.Context, err error) error {
	select {
	case <-ctx.Done():
		return nil
	default:
		return err
	}
}

func (a *app) printEvent(e control.Event) error {
	if a.opts.output == "json" {
		return json.NewEncoder(escaped{a.stdout}).Encode(e)
	}
	_, err := fmt.Fprintln(a.stdout, printable(eventLine(e)))
	return err
}
