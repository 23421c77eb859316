// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// deaf hears nothing.
type deaf struct{ _ byte } // so that each has an address of its own

func (*deaf) onChange()    {}
func (*deaf) onWatchLost() {}

// TestAWatchThatIsGivenUpWhileItIsAddedIsAddedAgain: who adds one that is there already gets its number, and does
// not hold it yet.
func TestAWatchThatIsGivenUpWhileItIsAddedIsAddedAgain(t *testing.T) {
	t.Parallel()
	n := newNotifier()
	defer n.close()
	fd, err := unix.Open(t.TempDir(), unix.O_PATH|unix.O_CLOEXEC, 0)
	must(t, err)
	defer func() { _ = unix.Close(fd) }()
	add := func() (wds map[int32]map[string]bool, generation uint64) {
		generation = n.generation()
		wd, err := n.add(fd, maskSelf|maskNames)
		must(t, err)
		return map[int32]map[string]bool{wd: {"a": true}}, generation
	}
	first, next := new(deaf), new(deaf)
	wds, generation := add()
	if !n.replace(first, wds, generation) {
		t.Fatal("a new watch cannot be held")
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
		t.Error("a watch is held that was given up")
	}
	wds, generation = add()
	if !n.replace(next, wds, generation) {
		t.Error("the watch cannot be held when it was added again")
	}
}

// TestEndingsAreRemembered as long as there is room, and assumed when there is none any more.
func TestEndingsAreRemembered(t *testing.T) {
	t.Parallel()
	var e removedWDs
	mine := map[int32]map[string]bool{-1: nil}
	e.add(-1)
	since := e.count
	for i := range len(e.lastChange) {
		e.add(int32(i))
	}
	if e.containsAny(mine, since) {
		t.Error("one that ended before is taken for one that ended since")
	}
	if !e.containsAny(mine, since-1) {
		t.Error("more endings than can be remembered have lost one")
	}
	if e.add(-1); !e.containsAny(mine, e.count-1) {
		t.Error("the latest is not known")
	}
}
