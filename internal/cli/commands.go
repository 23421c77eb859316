// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"ebpf-upgrader/internal/launch"
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

// helper is the program of the process that runs staged files, if that is what this process was started as.
func helper(args []string) (code int, isHelper bool) {
	if len(args) == 0 || args[0] != launch.Argument {
		return 0, false
	}
	return launch.Main(args), true
}
