// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"ebpf-upgrader/internal/control"
)

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
			return a.withService(cmd.Context(), func(c *control.Client) error {
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
