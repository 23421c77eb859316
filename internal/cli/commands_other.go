// SPDX-License-Identifier: MIT

//go:build !linux

package cli

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
)

// addCommands adds the one command that scripts may call on every system. Servers upgrade themselves on Linux only, so it
// has nothing to signal.
func addCommands(root *cobra.Command, a *app) {
	cmd := &cobra.Command{
		Use:   "trigger",
		Short: "Do nothing: servers upgrade themselves on Linux only",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			fmt.Fprintf(a.stderr, "ebpf-upgrader: nothing to do: servers do not upgrade themselves on %s\n", runtime.GOOS)
			return nil
		},
	}
	a.opts.use(cmd, roundFlags, triggerFlags, "settle")
	root.AddCommand(cmd, newVersion(a))
}

func helper([]string) (code int, isHelper bool) { return 0, false }
