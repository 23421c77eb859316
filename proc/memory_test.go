// SPDX-License-Identifier: MIT

//go:build linux

package proc_test

import (
	"path/filepath"
	"strings"
	"testing"

	"ebpf-upgrader/internal/testfleet"
)

// TestMemoryThatIsMappedFromASilentFileHoldsUpNobody: arguments and environment are memory of the
// process, and it can map anything there. The kernel does not read them from files (FOLL_ANON in
// fs/proc/base.c, since Linux 4.17, commit 7f7ccc2ccc2e), so they end there.
func TestMemoryThatIsMappedFromASilentFileHoldsUpNobody(t *testing.T) {
	t.Parallel()
	needRoot(t)
	fs, file := open(t), filepath.Join(mounted(t, testfleet.MountMute), testfleet.Mute)
	long := strings.Repeat("x", 1<<14)
	silent := func(what string) *running {
		return server(t, program{
			role: "silent " + what + "=" + file, args: []string{"rag-rat", long, "mcp"},
			env: []string{"LONG=" + long, variable + "=/bin/rag-rat"},
		})
	}
	if p := inspect(t, fs, silent("arguments")); !p.Named || p.Subcommand {
		t.Errorf("named %t, subcommand %t, although the subcommand cannot be read", p.Named, p.Subcommand)
	}
	if p := inspect(t, fs, silent("environment")); !p.Subcommand || p.VariableSet {
		t.Errorf("subcommand %t, variable %q, although the variable cannot be read", p.Subcommand, p.Variable)
	}
}
