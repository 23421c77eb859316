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

// A server runs git, and no event tells the end of that.
func TestLimit_Children_DoNotCount(t *testing.T) {
	for name, fixed := range map[string]bool{"learned": false, "named by the operator": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newHost()
				w.learned, w.maxPerUser = !fixed, 5
				w.files[usual] = at(usual, newImage)
				w.begin(1, usual, 1)
				w.change(func() { w.processes[1].Image = newImage })
				w.serve(t, 0)
				w.pass(time.Minute)
				for pid := range selector.PID(20) {
					w.begin(100+pid, usual, 1)
					w.change(func() { w.processes[100+pid].Named = false })
					w.events <- selector.Event{Kind: selector.EventFork, PID: 100 + pid}
					w.events <- selector.Event{Kind: selector.EventExecOther, PID: 100 + pid}
					w.pass(100 * time.Millisecond)
					w.change(func() { delete(w.processes, 100+pid) })
				}
				w.begin(2, usual, 1)
				w.events <- selector.Event{Kind: selector.EventExec, PID: 2}
				w.pass(time.Second)
				requireSignals(t, w, 2, 1, "after its user's other server ran git twenty times")
			})
		})
	}
}

// TestLimit_DeadProcesses_DoNotCount: their ends were lost.
func TestLimit_DeadProcesses_DoNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHost()
		w.maxPerUser = 5
		w.files["/a"] = at("/a", oldImage)
		for pid := range selector.PID(5) {
			w.begin(10+pid, "/a", 1)
		}
		w.serve(t, 0)
		w.pass(time.Minute)
		w.change(func() { clear(w.processes) })
		for pid := range selector.PID(5) {
			w.begin(20+pid, "/a", 1)
		}
		w.events <- selector.Event{Kind: selector.EventLost}
		w.pass(0)
		if s := w.status(t); s.Verdicts[selector.UpToDate] != 5 || s.Verdicts[selector.OverLimit] != 0 {
			t.Errorf("the verdicts are %v, want 5 up to date", s.Verdicts)
		}
	})
}

// TestExecOther_Script_IsStillAServer although it is no candidate meanwhile.
func TestExecOther_Script_IsStillAServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.limits.Canary = 1
		w.start(7, oldImage) // the canary, which does nothing for a second
		w.start(8, oldImage)
		w.serve(t, 0)
		w.land(ready(newImage))
		w.pass(100 * time.Millisecond)
		w.change(func() { w.unlisted = 8 })
		w.events <- selector.Event{Kind: selector.EventExecOther, PID: 8}
		w.events <- selector.Event{Kind: selector.EventLost}
		w.pass(100 * time.Millisecond)
		if left := w.status(t).Rollouts[0].Servers[rollout.Exited]; left != 0 {
			t.Errorf("%d are said to have left", left)
		}
	})
}

// It does so before its time, where a user has as many as allowed.
func TestLimit_UnnamedInstall_MakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHost()
		w.maxPlaces = 2
		w.serve(t, 0)
		for i, path := range []string{"/a", "/b", "/c", "/d"} {
			w.files[path] = at(path, newImage)
			pid := selector.PID(i + 1)
			w.begin(pid, path, 1)
			w.events <- selector.Event{Kind: selector.EventExec, PID: pid}
			w.pass(time.Second)
			requireSignals(t, w, pid, 1, "at "+path)
			w.change(func() { delete(w.processes, pid) })
			w.events <- selector.Event{Kind: selector.EventExit, PID: pid, Exit: quits}
		}
		if len(w.forgot) != 2 || w.forgot[0].Path != "/a" || w.forgot[1].Path != "/b" {
			t.Errorf("these were forgotten: %v; want /a, and then /b", w.forgot)
		}
	})
}

// TestLimit_ProcessEnded_IsNotOverIt: there is an event for each end.
func TestLimit_ProcessEnded_IsNotOverIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHost()
		w.maxPerUser = 1
		w.files["/a"] = at("/a", oldImage)
		w.begin(1, "/a", 1)
		w.begin(2, "/a", 1)
		w.serve(t, 0)
		w.pass(time.Second)
		for _, pid := range []selector.PID{1, 2} {
			w.change(func() { delete(w.processes, pid) })
			w.events <- selector.Event{Kind: selector.EventExit, PID: pid, Exit: quits}
		}
		if s := w.status(t); s.Verdicts[selector.OverLimit] != 0 {
			t.Errorf("the verdicts are %v after all have ended", s.Verdicts)
		}
	})
}

// TestSelf_OthersHalted_DoesNotWait.
func TestSelf_OthersHalted_DoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHost()
		w.files["/shared"] = at("/shared", oldImage)
		w.limits.Canary = 1
		for pid := selector.PID(1); pid <= 3; pid++ { // one dies, which halts the rollout for user 1
			w.begin(pid, "/shared", 1)
		}
		w.begin(9, "/shared", 2)
		w.onSignal = func(pid selector.PID) { go w.answer(*w.processes[pid], pid == 1) }
		w.serve(t, 0)
		w.pass(time.Second)
		_ = w.pause(t.Context())
		w.land(at("/shared", newImage))
		_, err := w.service.Trigger(t.Context(), "", 9)
		if err := errors.Join(err, w.resume(t.Context())); err != nil {
			t.Fatal(err)
		}
		w.pass(time.Minute)
		requireSignals(t, w, 2, 0, "after another of its user died")
		requireSignals(t, w, 9, 1, "as self, after those that are not signalled any more")
	})
}

var errFull = errors.New("no space left on device")

func TestPause_NotKept_IsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.serve(t, 0)
		w.change(func() { w.unsaved = errFull })
		if err := w.pause(t.Context()); !errors.Is(err, errFull) {
			t.Errorf("Pause = %v, want that it is not kept", err)
		}
		if err := w.resume(t.Context()); !errors.Is(err, errFull) {
			t.Errorf("Resume = %v, want that it is not kept", err)
		}
		w.change(func() { w.unsaved = nil })
		if err := w.pause(t.Context()); err != nil {
			t.Errorf("Pause = %v once it can be kept", err)
		}
	})
}

func TestLimit_TooManyServers_CostsOthersNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHost()
		w.maxPerUser = 10
		w.files["/a"], w.files["/b"] = at("/a", newImage), at("/b", newImage)
		for pid := range selector.PID(50) {
			w.start(pid+1, newImage)
			w.name(pid+1, "/a", 1)
		}
		w.begin(60, "/b", 2)
		w.serve(t, time.Minute)
		w.pass(time.Second)
		requireSignals(t, w, 60, 1, "beside a user with many")
		looked := 0
		for pid := range selector.PID(50) {
			looked += min(1, w.looks[pid+1])
		}
		if s := w.status(t); looked != 10 || s.Verdicts[selector.OverLimit] != 40 {
			t.Errorf("%d of 50 were looked at, and the verdicts are %v; want 10, and 40 over the limit", looked, s.Verdicts)
		}
		w.pass(5 * time.Minute) // and as many resyncs
		if w.refusals != 1 {
			t.Errorf("that the user is over the limit was reported %d times, want once", w.refusals)
		}
		w.change(func() {
			for pid := range selector.PID(45) {
				delete(w.processes, pid+1)
			}
		})
		w.pass(2 * time.Minute)
		if s := w.status(t); s.Verdicts[selector.UpToDate] != 5 || s.Verdicts[selector.OverLimit] != 0 {
			t.Errorf("the verdicts are %v once there is room, want 5 up to date", s.Verdicts)
		}
	})
}

func TestLimit_TooManyInstalls_CostsOthersNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHost()
		w.maxPlaces = 2
		for pid, path := range []string{"/a", "/b", "/c", "/d"} {
			w.files[path] = at(path, selector.Image{Dev: newImage.Dev, Ino: newImage.Ino + uint64(pid)})
			w.begin(selector.PID(pid+1), path, uint32(pid/3+1))
		}
		w.serve(t, 0)
		w.pass(time.Second)
		requireSignals(t, w, 4, 1, "beside a user with many installs")
		if s := w.status(t); s.Verdicts[selector.OverLimit] != 1 || len(s.Installs) != 3 {
			t.Errorf("the verdicts are %v of %d installs, want one over the limit, and 3", s.Verdicts, len(s.Installs))
		}
		if w.refusals != 1 {
			t.Errorf("that a user is over the limit was reported %d times, want once", w.refusals)
		}
	})
}
