// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"context"
	"encoding/json"
	"fmt"

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
			ctx := cmd.Context()
			err := a.withService(ctx, func(c *control.Client) error {
				if err := notAhead(ctx, c, from); err != nil {
					return err
				}
				if follow {
					return c.Follow(ctx, control.EventQuery{From: from}, a.printEvent, a.nextService)
				}
				return c.Events(ctx, from, false, a.printEvent)
			})
			return unlessInterrupted(ctx, err)
		},
	}
	a.addClientFlags(cmd.Flags())
	a.opts.addOutput(cmd.Flags())
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "show further events until interrupted")
	cmd.Flags().Uint64Var(&from, "from", 0, "the number of the first event; 0 is the oldest one that is kept")
	return cmd
}

// notAhead rejects a number that no event has yet. The next one may be awaited.
func notAhead(ctx context.Context, c *control.Client, from uint64) error {
	if from == 0 {
		return nil
	}
	status, err := c.Status(ctx)
	if err == nil && from > status.Events+1 {
		err = fmt.Errorf("--from %d: the latest event is %d", from, status.Events)
	}
	return err
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
