// SPDX-License-Identifier: MIT

package controller_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// deliverTo is a host that serves server 7 of user 1, outdated, with a delivery under way that has sent the signal. The delivery
// takes 100 ms more.
func deliverTo(t *testing.T) *world {
	t.Helper()
	w := newHost()
	w.limits.Canary, w.slowSignal = 1, 100*time.Millisecond
	w.files["/a"] = at("/a", oldImage)
	w.begin(7, "/a", 1)
	w.begin(8, "/a", 1)
	w.serve(t, 0)
	w.pass(time.Minute)
	w.land(at("/a", newImage))
	w.pass(10 * time.Millisecond)
	if w.signalCount(7)+w.signalCount(8) != 1 {
		t.Fatal("not one delivery is under way")
	}
	if w.signalCount(8) == 1 {
		t.Fatal("the canary is 8")
	}
	return w
}

func TestDelivery_DeathBeforeResult_Counts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := deliverTo(t)
		w.change(func() { delete(w.processes, 7) })
		w.events <- selector.Event{Kind: selector.EventExit, PID: 7, Exit: selector.Exit{Known: true, Status: 70 << 8}}
		w.pass(time.Minute)
		if r := w.status(t).Rollouts[0]; r.Phase != rollout.PhaseHalted || r.Deaths != 1 {
			t.Errorf("the rollout is %+v, want it halted by a death", r)
		}
		requireSignals(t, w, 8, 0, "after the canary died")
	})
}

func TestDelivery_InstallBeforeResult_NoSecondSignal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := deliverTo(t)
		go w.land(at("/a", selector.Image{Dev: 1, Ino: 30}))
		w.pass(rollout.DefaultRetryAfter / 2)
		requireSignals(t, w, 7, 1, "for the file that landed during its delivery")
		if m := w.memberOf(t, 7); m.State != rollout.TimedOut && m.State != rollout.Signalled {
			t.Errorf("it is %+v, want it known as signalled", m)
		}
	})
}

func TestDelivery_ReadBeforeResult_CountsNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := deliverTo(t)
		w.change(func() { w.processes[7].Catches = false })
		w.events <- selector.Event{Kind: selector.EventLost}
		w.pass(time.Second)
		if i := slices.IndexFunc(w.moves, func(m string) bool { return strings.HasPrefix(m, "7 pending skipped") }); i >= 0 {
			t.Errorf("a server with a delivery under way is skipped: %q", w.moves)
		}
		if m := w.memberOf(t, 7); m.State != rollout.Signalled {
			t.Errorf("it is %+v, want it signalled", m)
		}
	})
}

// A reading that began before the delivery has the old image, and comes after the exec.
func TestReading_BeforeExec_CountsNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := deliverTo(t)
		w.pass(time.Second)
		w.change(func() {
			w.isStale = true
			w.slowLook = func(selector.Process) time.Duration { return 300 * time.Millisecond }
		})
		w.events <- selector.Event{Kind: selector.EventLost}
		w.pass(10 * time.Millisecond)
		w.change(func() {
			w.processes[7].Image = newImage
			w.isStale, w.slowLook = false, nil
		})
		w.events <- selector.Event{Kind: selector.EventExec, PID: 7, At: time.Now()}
		w.pass(10 * time.Second)
		for _, move := range w.moves {
			if move == "7 settling none" || move == "7 settling pending" || move == "7 settling skipped" {
				t.Errorf("an old reading counts: %q", w.moves)
			}
		}
		if n := slices.Index(w.moves, "7 settling upgraded"); n < 0 {
			t.Errorf("the moves are %q, want it upgraded", w.moves)
		}
	})
}

func TestStart_UserNotInspected_SignalsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHost()
		w.limits.Canary = 1
		w.files["/a"] = at("/a", newImage)
		for pid := selector.PID(1); pid <= 6; pid++ {
			w.begin(pid, "/a", 1)
			w.processes[pid].DataDir = "/large"
		}
		w.processes[6].DataDir = "/small"
		w.slowLook = func(p selector.Process) time.Duration { return time.Duration(p.PID/6) * 200 * time.Millisecond }
		w.serve(t, 0)
		w.pass(500 * time.Millisecond)
		for pid := selector.PID(1); pid <= 5; pid++ {
			requireSignals(t, w, pid, 0, "before the canary of the smallest group")
		}
		requireSignals(t, w, 6, 1, "the smallest group goes first")
	})
}

func TestDelivery_OneUser_OneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHost()
		w.slowSignal = 50 * time.Millisecond
		w.crowd(20, func(int) selector.Image { return oldImage })
		w.serve(t, 0)
		w.pass(time.Minute)
		for i := range 20 {
			path := w.processes[selector.PID(1000+i)].Path
			go w.land(at(path, another(i)))
		}
		w.pass(10 * time.Second)
		for i := range 20 {
			requireSignals(t, w, selector.PID(1000+i), 1, "after its install")
		}
		if w.maxSending != 1 {
			t.Errorf("%d servers of a user were signalled at a time, want 1", w.maxSending)
		}
	})
}

func TestPause_DeliveryUnderWay_IsWithdrawn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHost()
		w.files["/a"] = at("/a", oldImage)
		w.begin(7, "/a", 1)
		w.serve(t, 0)
		w.pass(time.Minute)
		w.slowLooks(func(selector.Process) time.Duration { return 100 * time.Millisecond })
		w.land(at("/a", newImage))
		w.pass(150 * time.Millisecond) // it is read, and being read again at its delivery
		if err := w.pause(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.pass(time.Second)
		requireSignals(t, w, 7, 0, "after a pause in the middle of its delivery")
		if m := w.memberOf(t, 7); m.State != rollout.Pending {
			t.Errorf("it is %+v, want it pending", m)
		}
		if err := w.resume(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.pass(time.Second)
		requireSignals(t, w, 7, 1, "after the pause")
	})
}

// Deliveries are queued for their user: a file that lands stops them, but for the one that is under way.
func TestDelivery_InstallMeanwhile_StopsTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHost()
		w.slowSignal = 50 * time.Millisecond
		w.files["/a"] = at("/a", oldImage)
		for pid := range selector.PID(20) {
			w.begin(pid+1, "/a", 1)
		}
		w.serve(t, 0)
		w.pass(time.Minute)
		w.land(at("/a", newImage))
		w.pass(120 * time.Millisecond)
		signalled := 0
		for pid := range selector.PID(20) {
			signalled += w.signalCount(pid + 1)
		}
		w.land(at("/a", selector.Image{Dev: 1, Ino: 30}))
		w.pass(10 * time.Second)
		for pid := range selector.PID(20) {
			requireSignals(t, w, pid+1, 1, "after two installs")
		}
		if signalled > 4 {
			t.Errorf("%d were signalled in 120 ms, want one after the other", signalled)
		}
	})
}
