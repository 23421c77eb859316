// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
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

func newStatus(a *app) *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what the running service does",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withService(func(c *control.Client) error {
				if watch {
					return a.watchStatus(cmd.Context(), c)
				}
				return a.status(cmd.Context(), c)
			})
		},
	}
	a.addClientFlags(cmd.Flags())
	a.opts.addOutput(cmd.Flags())
	cmd.Flags().BoolVar(&watch, "watch", false, "show it every second until interrupted")
	return cmd
}

func (a *app) status(ctx context.Context, c *control.Client) error {
	status, err := c.Status(ctx)
	if err != nil {
		return err
	}
	if a.opts.output == "json" {
		return printJSON(a.stdout, status)
	}
	return printStatus(a.stdout, status, time.Now())
}

func (a *app) watchStatus(ctx context.Context, c *control.Client) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		if isTerminal(a.stdout) {
			fmt.Fprint(a.stdout, "\x1b[H\x1b[2J") // to the top of an empty screen
		}
		if err := a.status(ctx, c); err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

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

func newPause(a *app) *cobra.Command {
	return a.newControl("pause", "Make the running service signal no server until resume",
		"paused: no server is signalled until: ebpf-upgrader resume", (*control.Client).Pause)
}

func newResume(a *app) *cobra.Command {
	return a.newControl("resume", "End a pause or the halt of a rollout",
		"resumed", (*control.Client).Resume)
}

func (a *app) newControl(name, short, done string, call func(*control.Client, context.Context) error) *cobra.Command {
	cmd := &cobra.Command{
		Use:   name,
		Short: short,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withService(func(c *control.Client) error {
				if err := call(c, cmd.Context()); err != nil {
					return err
				}
				_, err := fmt.Fprintln(a.stdout, done)
				return err
			})
		},
	}
	a.addClientFlags(cmd.Flags())
	return cmd
}
