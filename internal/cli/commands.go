// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"github.com/spf13/cobra"
)

// addCommands adds each command with options of its own: the defaults of one are not those of another.
func addCommands(root *cobra.Command, a *app) {
	for _, newCommand := range []func(*app) *cobra.Command{
		newRun, newTrigger, newStatus, newEvents, newPause, newResume, newList, newExplain, newDoctor, newVersion,
	} {
		own := *a
		cmd := newCommand(&own)
		cmd.PersistentPreRunE = own.prepare
		root.AddCommand(cmd)
	}
}
