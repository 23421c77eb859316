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

func (*deaf) heard()  {}
func (*deaf) bereft() {}

// TestAWatchThatIsGivenUpWhileItIsAddedIsAddedAgain: who adds one that is there already gets its number, and does
// not hold it yet.
func TestAWatchThatIsGivenUpWhileItIsAddedIsAddedAgain(t *testing.T) {
	t.Parallel()
	n := newNotifier()
	defer n.close()
	fd, err := unix.Open(t.TempDir(), unix.O_PATH|unix.O_CLOEXEC, 0)
	must(t, err)
	defer func() { _ = unix.Close(fd) }()
	add := func() (held map[int32]map[string]bool, began uint64) {
		began = n.begin()
		wd, err := n.add(fd, maskSelf|maskNames)
		must(t, err)
		return map[int32]map[string]bool{wd: {"a": true}}, began
	}
	first, next := new(deaf), new(deaf)
	held, began := add()
	if !n.hold(first, held, began) {
		t.Fatal("a new watch cannot be held")
	}
	n.drop(first)
	held, began = add()
	n.mu.Lock()
	for wd := range held {
		n.spot(wd).orphan = time.Now().Add(-orphanage)
	}
	n.mu.Unlock()
	n.sweep()
	if n.hold(next, held, began) {
		t.Error("a watch is held that was given up")
	}
	held, began = add()
	if !n.hold(next, held, began) {
		t.Error("the watch cannot be held when it was added again")
	}
}

// TestEndingsAreRemembered as long as there is room, and assumed when there is none any more.
func TestEndingsAreRemembered(t *testing.T) {
	t.Parallel()
	var e endings
	mine := map[int32]map[string]bool{-1: nil}
	e.note(-1)
	since := e.count
	for i := range len(e.latest) {
		e.note(int32(i))
	}
	if e.any(mine, since) {
		t.Error("one that ended before is taken for one that ended since")
	}
	if !e.any(mine, since-1) {
		t.Error("more endings than can be remembered have lost one")
	}
	if e.note(-1); !e.any(mine, e.count-1) {
		t.Error("the latest is not known")
	}
}
