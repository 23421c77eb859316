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

	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
)

// TestHeldMemory_ForEver_DoesNotDelayScan: nobody waits for them but as many threads as a user may hold up,
// however often a scan comes by; the others are found, and they pass for candidates.
func TestHeldMemory_ForEver_DoesNotDelayScan(t *testing.T) {
	held := startHeld(t, 6, 0, 0)
	honest := start(t, executable(t), "serves", "rag-rat", "mcp")
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

// TestHeldMemory_ForAMoment_DoesNotDelayScan: all of them can be read in time, and there are many. Who holds
// may have no processor on a busy machine, and can be read at once then; it is tried again.
func TestHeldMemory_ForAMoment_DoesNotDelayScan(t *testing.T) {
	startHeld(t, 1, 1500, 10*time.Millisecond)
	honest := start(t, executable(t), "serves", "rag-rat", "mcp")
	for deadline := time.Now().Add(30 * time.Second); ; {
		found := candidatesWithin(t, 2*time.Second, scanner(t))
		if !slices.Contains(found, honest.pid) {
			t.Errorf("%d is no candidate among %v", honest.pid, found)
		}
		if len(found) >= 300 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d candidates were found: the processes were read one after the other", len(found))
		}
	}
}

// startHeld starts processes that have their memory held, and share it with others, by a file that answers after some
// time; 0 is never.
func startHeld(t *testing.T, n, others int, answers time.Duration) (held []*testfleet.Held) {
	t.Helper()
	needRoot(t)
	dir := t.TempDir()
	release, err := testfleet.MountSlow(dir, answers)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = release()
		for _, h := range held {
			h.Stop()
		}
	})
	for range n {
		h, err := testfleet.StartHeldByMany(others, filepath.Join(dir, testfleet.Mute), "anything")
		held = append(held, h)
		if err != nil {
			t.Fatal(err)
		}
	}
	return held
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
