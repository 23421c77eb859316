// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"fmt"
	"testing"
	"time"

	"ebpf-upgrader/internal/testfleet"
	"ebpf-upgrader/selector"
)

// mountSilent is a folder on a file system that never answers.
func mountSilent(t *testing.T) string {
	t.Helper()
	needRoot(t)
	dir := t.TempDir()
	release, err := testfleet.MountSilent(dir)
	must(t, err)
	t.Cleanup(func() { must(t, release()) })
	return dir
}

// TestAFileSystemThatNeverAnswersHoldsUpItsUserOnly: one user names a hundred files there, another one
// has his own looked at as ever.
func TestAFileSystemThatNeverAnswersHoldsUpItsUserOnly(t *testing.T) {
	t.Parallel()
	silent := mountSilent(t)
	_, path := installed(t)
	const hostile, other = 1001, 1002
	h := newHub(shortSettle, eventsOnly())
	var last *Watcher
	for i := range 100 {
		last = h.Watch(Way{Path: fmt.Sprintf("%s/%d", silent, i), Owner: hostile}, func(i selector.Install) {
			t.Errorf("told of a file that cannot be seen: %+v", i)
		})
	}
	w := &watched{said: make(chan selector.Install, 1)}
	w.Watcher = h.Watch(Way{Path: path, Owner: other}, w.put)
	awaitReady(t, w, imageOf(t, path))
	awaitReady(t, w, replace(t, path, static().bytes()))
	requireUnready(t, last.Check(), "the file system does not answer")
	requireReady(t, w.Check())
	eventually(t, "all that wait are shown", func() bool { return h.Stats().Stuck == 100 })
	h.Close() // which does not wait
	if s := h.Stats(); s.Ways != 0 {
		t.Errorf("after the end: %+v", s)
	}
	requireUnready(t, Check(Way{Path: silent + "/prog"}), "the file system does not answer")
	requireUnready(t, Settled(t.Context(), Way{Path: silent + "/prog"}, time.Second), "the file system does not answer")
}

// TestWhoHasHisFilesLookedAtWithoutEndWaitsForIt: what the looks cost is counted against their owner.
func TestWhoHasHisFilesLookedAtWithoutEndWaitsForIt(t *testing.T) {
	t.Parallel()
	o, stop := newOwner(), make(chan struct{})
	if !o.afford(stop) {
		t.Fatal("a new owner may not look")
	}
	if used := cost(func() { spin(5 * time.Millisecond) }); used < 4*time.Millisecond {
		t.Errorf("5 ms of work cost %s", used)
	}
	o.spend(burst + time.Hour)
	close(stop)
	if o.afford(stop) {
		t.Error("who has spent an hour too much may look at once")
	}
	if o.do(stop, func() { t.Error("looked") }) {
		t.Error("who has spent an hour too much has looked")
	}
}

// spin uses the processor for that long.
func spin(d time.Duration) {
	for begin := threadTime(); threadTime()-begin < d; {
	}
}
