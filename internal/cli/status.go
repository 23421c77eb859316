// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"ebpf-upgrader/internal/control"
)

func newStatus(a *app) *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what the running service does",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withService(cmd.Context(), func(c *control.Client) error {
				if watch {
					return control.Again(cmd.Context(), func(answered func()) error {
						return a.watchStatus(cmd.Context(), c, answered)
					}, a.nextService)
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

func (a *app) watchStatus(ctx context.Context, c *control.Client, answered func()) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		if isTerminal(a.stdout) {
			fmt.Fprint(a.stdout, "\x1b[H\x1b[2J") // to the top of an empty screen
		}
		if err := a.status(ctx, c); err != nil && ctx.Err() == nil {
			return err
		}
		answered()
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}
