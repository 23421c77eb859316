// SPDX-License-Identifier: MIT

package main

import (
	"github.com/spf13/cobra"
)

func addCommands(root *cobra.Command, a *app) {
	root.AddCommand(
		newRun(a),
		newTrigger(a),
		newList(a),
		newExplain(a),
		newDoctor(a),
		newDemo(a),
		newDemoServer(),
	)
}
