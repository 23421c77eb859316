// SPDX-License-Identifier: MIT

package controller_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// TestRestart_HaltedUser_StaysHalted although the rollout goes on for another user, and has come into no other phase.
func TestRestart_HaltedUser_StaysHalted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHost()
		w.files["/shared"] = at("/shared", oldImage)
		for pid := selector.PID(1); pid <= 3; pid++ {
			w.begin(pid, "/shared", 1)
		}
		w.begin(4, "/shared", 2)
		w.limits.InFlight = rollout.InFlight{Servers: 1}
		w.onSignal = func(pid selector.PID) {
			if pid == 1 {
				go w.answer(*w.processes[pid], true)
			}
		}
		stop := w.serve(t, 0)
		w.pass(time.Second)
		w.land(at("/shared", newImage))
		w.pass(10 * time.Second)
		if len(w.processes) != 3 {
			t.Fatalf("%d live, want 3", len(w.processes))
		}
		stop()
		w.serve(t, 0)
		w.pass(time.Minute)
		requireSignals(t, w, 2, 0, "after a restart: another of its user died")
	})
}

// One death of its servers was less than it takes.
func TestRestart_UserNotHalted_StaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHost()
		w.limits.MaxFailures = 2
		w.files["/shared"] = at("/shared", oldImage)
		for pid := selector.PID(1); pid <= 6; pid++ {
			w.begin(pid, "/shared", uint32(pid%2))
		}
		dies := map[selector.PID]bool{1: true, 3: true, 2: true} // two of user 1, one of user 0
		w.onSignal = func(pid selector.PID) {
			if dies[pid] {
				go w.answer(*w.processes[pid], true)
			}
		}
		w.limits.InFlight = rollout.InFlight{Servers: 1}
		stop := w.serve(t, 0)
		w.pass(time.Second)
		w.land(at("/shared", newImage))
		w.pass(20 * time.Second)
		stop()
		w.serve(t, 0)
		w.pass(time.Second)
		r := w.status(t).Rollouts[0]
		if r.Deaths != 3 || len(r.Halts) != 1 || r.Halts[0].UID != 1 {
			t.Errorf("after a restart the rollout is %+v, want it halted for user 1", r)
		}
	})
}

// Another sender may have signalled the server.
func TestDelivery_TracerFails_IsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.start(7, oldImage)
		w.blind = errors.New("the map cannot be read")
		w.serve(t, 0)
		w.land(ready(newImage))
		w.pass(time.Second)
		requireSignals(t, w, 7, 0, "while the witness fails")
		if w.refusals != 1 {
			t.Errorf("%d refusals were told, want 1", w.refusals)
		}
		w.change(func() { w.blind = nil })
		w.pass(w.limits.RetryAfter)
		requireSignals(t, w, 7, 1, "after the witness is back")
	})
}

// TestDelivery_ServerUntracked_WaitsForOthers: another sender may be acting on an install that was just told.
func TestDelivery_ServerUntracked_WaitsForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.start(7, oldImage)
		w.traces[7] = selector.Trace{IsUntracked: true}
		w.serve(t, 0)
		w.land(ready(newImage))
		w.pass(time.Second)
		requireSignals(t, w, 7, 0, "right after the install")
		if w.refusals != 1 {
			t.Errorf("%d refusals were told, want 1", w.refusals)
		}
		w.pass(w.limits.RetryAfter)
		requireSignals(t, w, 7, 1, "when other senders have acted")
	})
}

// TestCarried_ExecSeenByInspection_IsJudged: it exec'd the binary before, and nothing tells of that.
// TestCarried_YetToBeJudged_IsNotComplete: it has exec'd, and is looked at a moment later.
// TestCarried_FoundCurrent_IsForgotten by the journal, too.
// TestJournal_Unwritable_NoServerSignalled until it can be written again, also by the service after a restart.
func TestJournal_Unwritable_NoServerSignalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHost()
		w.files["/a"] = at("/a", oldImage)
		for pid := selector.PID(1); pid <= 4; pid++ {
			w.begin(pid, "/a", 1)
		}
		w.onSignal = func(pid selector.PID) { go w.answer(*w.processes[pid], false) }
		stop := w.serve(t, 0)
		w.pass(time.Second)
		w.change(func() { w.unsaved = errFull })
		w.land(at("/a", newImage))
		w.pass(time.Minute)
		requireNoneSignalled(t, w, 4)
		requireReason(t, w, errFull.Error())
		if w.troubles != 1 {
			t.Errorf("%d errors were reported, want 1", w.troubles)
		}
		stop()
		w.serve(t, 0)
		w.pass(time.Minute)
		requireNoneSignalled(t, w, 4)
		w.change(func() { w.unsaved = nil })
		w.pass(20 * time.Second)
		for pid := selector.PID(1); pid <= 4; pid++ {
			requireSignals(t, w, pid, 1, "after the journal could be written")
		}
		if s := w.status(t); s.JournalError != "" || s.Rollouts[0].Phase != rollout.PhaseComplete {
			t.Errorf("in the end the status is %+v", s)
		}
	})
}

func requireNoneSignalled(t *testing.T, w *world, last selector.PID) {
	t.Helper()
	for pid := selector.PID(1); pid <= last; pid++ {
		requireSignals(t, w, pid, 0, "while the journal cannot be written")
	}
}

// requireReason requires that status and servers say why none is signalled, and that nothing halted.
func requireReason(t *testing.T, w *world, want string) {
	t.Helper()
	s := w.status(t)
	if s.JournalError != want || len(s.Rollouts) != 1 || len(s.Rollouts[0].Halts) > 0 {
		t.Errorf("the status is %+v, want the reason %q and no halt", s, want)
	}
	if m := w.memberOf(t, 1); m.State != rollout.Pending || m.Detail != want {
		t.Errorf("a server is %+v, want it pending, and why", m)
	}
}

// TestJournal_IntentUnwritten_IsRefused and retried within seconds.
func TestJournal_IntentUnwritten_IsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHost()
		w.limits.Canary = 1
		w.files["/a"] = at("/a", oldImage)
		w.begin(1, "/a", 1)
		w.begin(2, "/a", 2) // its turn comes a second later
		w.serve(t, 0)
		w.pass(time.Second)
		w.land(at("/a", newImage))
		w.pass(500 * time.Millisecond)
		w.change(func() { w.unsaved = errFull })
		w.pass(time.Minute)
		signalled, waiting := selector.PID(1), selector.PID(2)
		if w.signalCount(1) == 0 {
			signalled, waiting = waiting, signalled
		}
		requireSignals(t, w, signalled, 1, "while the journal could be written")
		requireSignals(t, w, waiting, 0, "while it cannot")
		if w.refusals != 1 || w.troubles != 1 {
			t.Errorf("%d refusals and %d errors were reported, want 1 of each", w.refusals, w.troubles)
		}
		w.change(func() { w.unsaved = nil })
		w.pass(2 * time.Second)
		requireSignals(t, w, waiting, 1, "soon after it can be written")
	})
}

// TestJournal_FullAfterSignal_NotSignalledTwice: what became of the server cannot be written, and the process ends.
func TestJournal_FullAfterSignal_NotSignalledTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.start(7, oldImage)
		w.onSignal = func(selector.PID) { w.unsaved = errFull }
		stop := w.serve(t, 0)
		w.land(ready(newImage))
		w.pass(10 * time.Second)
		stop()
		w.change(func() { w.unsaved, w.onSignal = nil, nil })
		w.serve(t, 0)
		w.pass(rollout.DefaultRetryAfter - 20*time.Second)
		requireSignals(t, w, 7, 1, "before the retry time")
	})
}

// TestJournal_WriteFailed_IsRetried although nothing else has to be written.
func TestJournal_WriteFailed_IsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.start(7, oldImage)
		w.onSignal = func(pid selector.PID) {
			w.unsaved = errFull
			go w.answer(*w.processes[pid], true)
		}
		stop := w.serve(t, 0)
		w.land(ready(newImage))
		w.pass(10 * time.Second)
		w.change(func() { w.unsaved = nil })
		w.pass(2 * time.Second)
		stop()
		if r := w.saved.Rollouts; len(r) != 1 || len(r[0].Users) != 1 || r[0].Users[0].Deaths != 1 {
			t.Errorf("the journal has %+v, want the death", r)
		}
	})
}
