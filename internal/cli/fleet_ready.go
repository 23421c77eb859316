// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"github.com/spf13/cobra"

	"ebpf-upgrader/internal/control"
)

func newFleetReady(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ready",
		Short: "Say whether a tool may go on to the next host",
		Long: `Asks the running service for what GET /readyz/fleet answers, where a tool reaches its socket only.
Fails, with the reason, while a staged file is being put in place, and after one has failed.`,
		Example: `  ebpf-upgrader fleet ready || exit 1`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withService(cmd.Context(), func(c *control.Client) error {
				if err := c.Ready(cmd.Context()); err != nil {
					return err
				}
				return a.printLine("ready: a tool may go on to the next host")
			})
		},
	}
	a.opts.use(cmd, clientFlags)
	return cmd
}
