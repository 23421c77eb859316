// SPDX-License-Identifier: MIT

//go:build linux

package fallback_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"ebpf-upgrader/internal/testfleet"
	"ebpf-upgrader/selector"
)

// TestProcessesThatHoldTheirMemoryHoldUpNoScan: nobody waits for them but as many threads as a user may hold up,
// however often a scan comes by; the others are found, and they pass for candidates.
func TestProcessesThatHoldTheirMemoryHoldUpNoScan(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	release, err := testfleet.MountMute(dir)
	if err != nil {
		t.Fatal(err)
	}
	var held []*testfleet.Held
	defer func() {
		_ = release()
		for _, h := range held {
			h.Stop()
		}
	}()
	honest := start(t, executable(t), "serves", "rag-rat", "mcp")
	for range 6 {
		h, err := testfleet.StartHeld(filepath.Join(dir, testfleet.Mute), "anything")
		held = append(held, h)
		if err != nil {
			t.Fatal(err)
		}
	}
	s, before := scanner(t), threads(t)
	for range 3 {
		found := candidatesWithin(t, 2*time.Second, s)
		if !slices.Contains(found, honest.pid) {
			t.Errorf("%d is no candidate among %v", honest.pid, found)
		}
		for _, h := range held {
			if !slices.Contains(found, selector.PID(h.PID)) {
				t.Errorf("%d, which cannot be read, is no candidate among %v", h.PID, found)
			}
		}
	}
	const spare = 4 // that the runtime starts for itself
	if after := threads(t); after > before+4+spare {
		t.Errorf("%d threads, %d before six processes held their memory", after, before)
	}
}

// candidatesWithin fails when a scan takes longer.
func candidatesWithin(t *testing.T, long time.Duration, s interface {
	Candidates(ctx context.Context) ([]selector.PID, error)
},
) []selector.PID {
	t.Helper()
	scans := make(chan []selector.PID, 1)
	go func() {
		pids, err := s.Candidates(t.Context())
		if err != nil {
			t.Error(err)
		}
		scans <- pids
	}()
	select {
	case pids := <-scans:
		return pids
	case <-time.After(long):
		t.Fatalf("the scan takes more than %s", long)
		return nil
	}
}

func threads(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}
