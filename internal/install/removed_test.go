// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// deaf is a listener that ignores all calls.
type deaf struct{ _ byte } // gives each an address of its own

func (*deaf) onChange()    {}
func (*deaf) onWatchLost() {}

// inotify_add_watch returns the descriptor of an existing watch before its listener has subscribed.
func TestWatches_RemovedWhileAdded_AreAddedAgain(t *testing.T) {
	t.Parallel()
	n := newNotifier()
	defer n.close()
	fd, err := unix.Open(t.TempDir(), unix.O_PATH|unix.O_CLOEXEC, 0)
	must(t, err)
	defer func() { _ = unix.Close(fd) }()
	add := func() (wds watchedNames, generation uint64) {
		generation = n.generation()
		wd, err := n.add(fd, maskSelf|maskNames)
		must(t, err)
		return watchedNames{wd: {"a": true}}, generation
	}
	first, next := new(deaf), new(deaf)
	wds, generation := add()
	if !n.replace(first, wds, generation) {
		t.Fatal("a new watch cannot be subscribed to")
	}
	n.drop(first)
	wds, generation = add()
	n.mu.Lock()
	for wd := range wds {
		n.watchFor(wd).unusedSince = time.Now().Add(-unusedTTL)
	}
	n.mu.Unlock()
	n.sweep()
	if n.replace(next, wds, generation) {
		t.Error("the subscription to a removed watch succeeds")
	}
	wds, generation = add()
	if !n.replace(next, wds, generation) {
		t.Error("the subscription fails after the watch was added again")
	}
}

// The ring has the latest removals, and assumes one when it may have lost it.
func TestRemovedWDs_Full_AssumesRemoval(t *testing.T) {
	t.Parallel()
	var e removedWDs
	mine := watchedNames{-1: nil}
	e.add(-1)
	since := e.count
	for i := range len(e.ring) {
		e.add(int32(i))
	}
	if e.containsAny(mine, since) {
		t.Error("an earlier removal counts as a later one")
	}
	if !e.containsAny(mine, since-1) {
		t.Error("a removal was lost in a full ring")
	}
	if e.add(-1); !e.containsAny(mine, e.count-1) {
		t.Error("the latest removal is missing")
	}
}
