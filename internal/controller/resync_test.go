// SPDX-License-Identifier: MIT

package controller_test

import (
	"testing"
	"testing/synctest"
	"time"

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

// Nothing else may tell that a server has armed itself.
func TestScan_ArmsLate_IsSignalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := current(t, 3)
		w.begin(4, "/a", 1)
		w.change(func() { w.processes[4].Catches = false })
		w.events <- selector.Event{Kind: selector.EventExec, PID: 4}
		w.pass(5 * time.Minute)
		w.change(func() { w.processes[4].Catches = true })
		w.pass(30 * time.Second)
		requireSignals(t, w, 4, 1, "after it has armed at last")
	})
}

// TestResync_TriggerAndLoss_InspectAll.
func TestResync_TriggerAndLoss_InspectAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := current(t, 3)
		if _, err := w.service.Trigger(t.Context(), "", 0); err != nil || w.looksAt(1) != 1 {
			t.Errorf("it was looked at %d times at a trigger, %v; want once", w.looksAt(1), err)
		}
		w.events <- selector.Event{Kind: selector.EventLost}
		w.pass(time.Second)
		if n := w.looksAt(1); n != 2 {
			t.Errorf("it was looked at %d times at a trigger and after a loss, want each time", n)
		}
	})
}

func TestScan_InstallDuringIt_SignalsAll(t *testing.T) {
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
			requireSignals(t, w, pid, 1, "after the install")
		}
	})
}

func TestServer_ArmsMinutesLater_FoundIn30s(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.start(7, oldImage)
		w.start(8, oldImage)
		w.change(func() { w.processes[7].Catches, w.processes[8].Catches = false, false })
		w.serve(t, 10*time.Minute)
		w.land(ready(newImage))
		w.pass(4 * time.Minute)
		looks := w.looksAt(7)
		if looks > 100 {
			t.Errorf("it was inspected %d times in 4 minutes", looks)
		}
		w.pass(4 * time.Minute)
		if n := w.looksAt(7) - looks; n != 8 {
			t.Errorf("it was inspected %d times in 4 minutes more, want each 30 s", n)
		}
		w.change(func() { w.processes[7].Catches = true })
		w.pass(30 * time.Second)
		requireSignals(t, w, 7, 1, "after it has armed itself")
		requireSignals(t, w, 8, 0, "as it has not")
	})
}
