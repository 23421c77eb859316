// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"ebpf-upgrader/internal/control"
)

func newEvents(a *app) *cobra.Command {
	var follow bool
	var from uint64
	var flags filterFlags
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show the events, also of earlier services; --follow shows further ones as they happen",
		Long: `Shows what happened, with numbers that go on over restarts and reboots. The latest
events are kept in the --state-dir. Where no service runs, they are read from there.
Rounds that found no server to signal are shown with --kind round only.`,
		Example: `  ebpf-upgrader events --follow
  ebpf-upgrader events --since 2h --user alice --kind server,act
  ebpf-upgrader events -o json | jq 'select(.kind == "server" and .state == "crashed")'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter, err := flags.filter(&a.opts, time.Now())
			if err != nil {
				return err
			}
			print := a.eventPrinter(len(flags.kinds) > 0)
			ctx, query := cmd.Context(), control.EventQuery{From: from, Filter: filter}
			ask := func(c *control.Client) error {
				if err := notAhead(ctx, c, from); err != nil {
					return err
				}
				if follow {
					return c.Follow(ctx, query, print, a.nextService)
				}
				return c.Events(ctx, query, print)
			}
			if follow {
				err = a.withService(ctx, ask)
			} else {
				err = a.withKept(ctx, ask, func(kept *control.Feed) error { return kept.Each(query, print) })
			}
			return unlessInterrupted(ctx, err)
		},
	}
	a.opts.use(cmd, clientFlags, "user state-dir output install-path")
	flags.add(cmd.Flags())
	cmd.Flags().Lookup("install-path").Usage = "only of this install, e.g. /usr/local/bin/rag-rat"
	cmd.Flags().StringSliceVar(&flags.kinds, "kind", nil, "only of these kinds: "+kindList())
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

// eventPrinter returns a function that writes one event. It leaves out rounds that found no server to signal, each regular
// scan is one, unless all is set.
func (a *app) eventPrinter(all bool) func(control.Event) error {
	return func(e control.Event) error {
		switch {
		case !all && e.Kind == control.EventRound && e.Planned == 0:
			return nil
		case a.opts.output == "json":
			return json.NewEncoder(escaped{a.stdout}).Encode(e)
		}
		_, err := fmt.Fprintln(a.stdout, printable(a.names.eventLine(e)))
		return err
	}
}
