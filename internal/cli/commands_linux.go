// SPDX-License-Identifier: MIT

package cli

import (
	"github.com/spf13/cobra"
)

func addCommands(root *cobra.Command, a *app) {
	root.AddCommand(
		newRun(a),
		newTrigger(a),
		newStatus(a),
		newEvents(a),
		newPause(a),
		newResume(a),
		newList(a),
		newExplain(a),
		newDoctor(a),
		newDemo(a),
		newDemoServer(),
	)
}
