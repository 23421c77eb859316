// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/caps"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/tracker"
)

// probed marks the child of the test below, which gives up capabilities for good.
const probed = "EBPF_UPGRADER_TEST_PROBED"

// A system call that all threads make must have the same answer in each, or the runtime ends the process. A thread
// that had lost capabilities in the probe did not agree, as long as it lived.
func TestCapabilities_ProbedThenKept_NoCrash(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("REQUIRE_BPF") == "1" {
			t.Fatal("needs root")
		}
		t.Skip("needs root")
	}
	if os.Getenv(probed) == "" {
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$")
		child.Env = append(os.Environ(), probed+"=1")
		if out, err := child.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	tr, err := tracker.Attach(tracker.Config{
		Pattern: selector.Pattern{Names: []string{"never-started"}, Subcommand: "mcp"},
		Signal:  unix.SIGUSR1,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tr.Close() }()
	for range 200 {
		if err := tr.NeedsCapabilities(); err != nil {
			t.Log(err)
		}
		if err := caps.Keep(func(caps.Capability) bool { return true }); err != nil {
			t.Fatal(err)
		}
	}
}
