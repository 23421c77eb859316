// SPDX-License-Identifier: MIT

package controller_test

import (
	"testing"
	"testing/synctest"
	"time"

	"ebpf-upgrader/internal/controller"
	"ebpf-upgrader/selector"
)

// current is a host with up to date servers 1 to n, half a minute before the next regular look.
func current(t *testing.T, n int) *world {
	t.Helper()
	w := newHost()
	w.files["/a"] = at("/a", newImage)
	for pid := selector.PID(1); pid <= selector.PID(n); pid++ {
		w.begin(pid, "/a", 1)
		w.change(func() { w.processes[pid].Image = newImage })
	}
	w.serve(t, time.Minute)
	w.pass(90 * time.Second)
	w.change(func() { clear(w.looks) })
	return w
}

func (w *world) looksAt(pid selector.PID) (n int) {
	w.change(func() { n = w.looks[pid] })
	return n
}

// TestARegularLookLeavesOutWhoIsAsHeWas, nine times out of ten. It tells of him all the same.
func TestARegularLookLeavesOutWhoIsAsHeWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := current(t, 3)
		w.pass(7 * time.Minute)
		if n := w.looksAt(1); n != 0 {
			t.Errorf("it was looked at %d times in seven regular looks, want none", n)
		}
		w.change(func() {
			if w.reported != 3 {
				t.Errorf("the last look told of %d servers, want 3", w.reported)
			}
		})
		w.pass(20 * time.Minute)
		if n := w.looksAt(1); n < 2 || n > 3 {
			t.Errorf("it was looked at %d times in 27 regular looks, want each tenth", n)
		}
		requireAsked(t, w, 1, 0, "an up to date server")
	})
}

// TestTheNextRegularLookFindsWhatHasChanged although nothing told of it.
func TestTheNextRegularLookFindsWhatHasChanged(t *testing.T) {
	for name, change := range map[string]func(w *world){
		"it has exec'd":         func(w *world) { w.processes[2].Image = oldImage },
		"it sees other files":   func(w *world) { w.processes[2].View.Mounts = 7; w.processes[2].Image = oldImage },
		"another has its place": func(w *world) { w.processes[2].StartTime++; w.processes[2].Image = oldImage },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := current(t, 3)
				w.change(func() { change(w) })
				w.pass(65 * time.Second)
				requireAsked(t, w, 2, 1, "after the next regular look")
				if n := w.looksAt(1); n != 0 {
					t.Errorf("another was looked at %d times, want none", n)
				}
			})
		})
	}
}

// TestWhoIsWaitedForIsLookedAtRegularly: whether he upgrades may show by nothing else.
func TestWhoIsWaitedForIsLookedAtRegularly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := current(t, 3)
		w.begin(4, "/a", 1)
		w.change(func() { w.processes[4].Catches = false })
		w.events <- controller.Event{Kind: controller.Execed, PID: 4}
		w.pass(5 * time.Minute)
		w.change(func() { w.processes[4].Catches = true })
		w.pass(65 * time.Second)
		requireAsked(t, w, 4, 1, "after it has armed at last")
	})
}

// TestATriggerAndALossLeaveOutNobody.
func TestATriggerAndALossLeaveOutNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := current(t, 3)
		if _, err := w.service.Trigger(t.Context(), "", 0); err != nil || w.looksAt(1) != 1 {
			t.Errorf("it was looked at %d times at a trigger, %v; want once", w.looksAt(1), err)
		}
		w.events <- controller.Event{Kind: controller.Lost}
		w.pass(time.Second)
		if n := w.looksAt(1); n != 2 {
			t.Errorf("it was looked at %d times at a trigger and after a loss, want each time", n)
		}
	})
}

// TestALookThatWaitsForItsUserIsNotMadeGoodByARegularOne that would leave out those whom it is about.
func TestALookThatWaitsForItsUserIsNotMadeGoodByARegularOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const many = 300
		w := current(t, many)
		w.pass(29 * time.Second) // a second before it
		w.slowLooks(func(selector.Process) time.Duration { return 10 * time.Millisecond })
		w.land(at("/a", selector.Image{Dev: 1, Ino: 21}))
		w.pass(2 * time.Second)
		w.slowLooks(nil)
		w.pass(50 * time.Second)
		for pid := selector.PID(1); pid <= many; pid++ {
			requireAsked(t, w, pid, 1, "after the install")
		}
	})
}
