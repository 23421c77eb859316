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
	f := cmd.Flags()
	a.opts.addInstallPath(f)
	a.opts.addRule(f)
	a.opts.addSelf(f)
	a.opts.addSource(f)
	a.opts.addSettle(f)
	a.opts.addOutput(f)
	f.BoolVar(&a.opts.dryRun, "dry-run", false, "plan, but send nothing")
	root.AddCommand(cmd)
}
