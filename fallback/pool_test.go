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

// However often a scan comes by, it waits for as many threads as a user may block. The other processes are found, and the
// blocked ones are reported as candidates.
func TestHeldMemory_ForEver_DoesNotDelayScan(t *testing.T) {
	held := startHeld(t, 6, 0, 0)
	honest := start(t, executable(t), "serves", "rag-rat", "mcp")
	s, before := scanner(t), threads(t)
	for range 3 {
		found := candidatesWithin(t, 2*time.Second, s)
		if !slices.Contains(found, honest.pid) {
			t.Errorf("%d is missing in %v", honest.pid, found)
		}
		for _, h := range held {
			if !slices.Contains(found, selector.PID(h.PID)) {
				t.Errorf("%d, which cannot be read, is missing in %v", h.PID, found)
			}
		}
	}
	const spare = 4 // threads that the runtime starts
	if after := threads(t); after > before+4+spare {
		t.Errorf("%d threads, %d before six processes blocked reads", after, before)
	}
}

// Each of many processes can be read in time. On a busy machine the thread that holds the lock may have no processor, and
// the process can be read at once. The scan is repeated then.
func TestHeldMemory_ForAMoment_DoesNotDelayScan(t *testing.T) {
	startHeld(t, 1, 1500, 10*time.Millisecond)
	honest := start(t, executable(t), "serves", "rag-rat", "mcp")
	for deadline := time.Now().Add(30 * time.Second); ; {
		found := candidatesWithin(t, 2*time.Second, scanner(t))
		if !slices.Contains(found, honest.pid) {
			t.Errorf("%d is missing in %v", honest.pid, found)
		}
		if len(found) >= 300 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d candidates were found: the processes were read one after the other", len(found))
		}
	}
}

// startHeld starts processes that hold the lock on their memory, and share the memory with others. A file that answers after
// some time releases the lock; 0 is never.
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
