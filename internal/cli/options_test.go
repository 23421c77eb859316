// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func TestFlag_NotGiven_HasTheDefaultOfItsCommand(t *testing.T) {
	shownOtherwise := map[string]bool{"self": true, "socket": true, "run-dir": true, "state-dir": true, "config": true}
	root := newRoot(&app{started: new(bool)})
	flags := 0
	var visit func(*cobra.Command)
	visit = func(cmd *cobra.Command) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			flags++
			if f.Value.String() != f.DefValue && !shownOtherwise[f.Name] {
				t.Errorf("%s --%s is %q, want %q", cmd.Name(), f.Name, f.Value, f.DefValue)
			}
		})
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
	}
	visit(root)
	if flags < 50 {
		t.Errorf("%d flags were compared", flags)
	}
}
