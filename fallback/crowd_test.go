// SPDX-License-Identifier: MIT

//go:build linux

package fallback_test

import (
	"os"
	"strconv"
	"testing"

	"ebpf-upgrader/internal/testfleet"
)

// crowd starts as many idle processes as IDLE says, and ends them with the benchmark.
func crowd(b *testing.B) {
	b.Helper()
	text := os.Getenv("IDLE")
	if text == "" {
		return // the host as it is
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		b.Fatalf("IDLE=%q is no number of processes", text)
	}
	c, err := testfleet.StartCrowd(n, testfleet.CrowdOptions{Dir: b.TempDir(), UpgradeBin: "/usr/bin/" + testfleet.Name})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Stop() })
}
