// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"strings"

	"github.com/spf13/cobra"
)

// addCommands adds each command with options of its own: the defaults of one are not those of another.
func addCommands(root *cobra.Command, a *app) {
	// Not otherwise: cobra keeps each flag with its values for as long as the process lives.
	isCompletion := len(a.args) > 0 && strings.HasPrefix(a.args[0], cobra.ShellCompRequestCmd)
	for _, newCommand := range []func(*app) *cobra.Command{
		newRun, newTrigger, newStatus, newEvents, newHistory, newPause, newResume, newAbandon, newActivate, newRollback, newList,
		newExplain, newDoctor, newConfig, newReload, newFleet, newVersion,
	} {
		own := *a
		cmd := newCommand(&own)
		cmd.PersistentPreRunE = own.prepare
		if isCompletion {
			addCompletions(cmd, &own)
		}
		root.AddCommand(cmd)
	}
}
