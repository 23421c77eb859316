// SPDX-License-Identifier: MIT

package controller_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// dieOfAnother has another sender signal a server, which ends with 1 then.
func (w *world) dieOfAnother(pid selector.PID) {
	w.events <- selector.Event{Kind: selector.EventSignal, PID: pid, At: time.Now(), Sender: 4242}
	w.pass(10 * time.Millisecond)
	w.change(func() { delete(w.processes, pid) })
	w.events <- selector.Event{
		Kind: selector.EventExit, PID: pid, At: time.Now(), Exit: selector.Exit{Known: true, Status: 1 << 8},
	}
	w.pass(10 * time.Millisecond)
}

func TestForeignSignal_DeathBeforeSettled_HaltsTheFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHost()
		w.files["/a"] = at("/a", oldImage)
		for pid := selector.PID(1); pid <= 3; pid++ {
			w.begin(pid, "/a", 1)
		}
		w.onSignal = func(pid selector.PID) { go w.answer(*w.processes[pid], false) }
		w.serve(t, 0)
		w.pass(time.Second)
		w.land(at("/a", selector.Image{Dev: 1, Ino: 15}))
		w.pass(time.Minute)
		w.onSignal = nil
		w.dieOfAnother(1) // upgraded before, it dies of a file that has just landed
		if i := w.status(t).Installs; len(i) != 1 || i[0].Deaths != 1 {
			t.Errorf("before the file has settled the installs are %+v, want one with a death", i)
		}
		w.land(at("/a", newImage))
		w.pass(time.Hour)
		requireSignals(t, w, 2, 1, "after a death of another sender's signal")
		r := w.status(t).Rollouts[0]
		if r.Phase != rollout.PhaseHalted || len(r.Foreign) != 1 || r.Foreign[0] != (rollout.ForeignDeaths{Sender: 4242, Deaths: 1}) {
			t.Errorf("the rollout is %+v, want it halted by a death after a signal of 4242", r)
		}
	})
}

func TestForeignSignal_DeathOfReplacedFile_CountsNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHost()
		w.files["/a"] = at("/a", oldImage)
		w.begin(1, "/a", 1)
		w.begin(2, "/a", 1)
		w.serve(t, 0)
		w.pass(time.Second)
		w.dieOfAnother(1) // of a file that is replaced before it has settled
		w.pass(100 * time.Millisecond)
		good := at("/a", newImage)
		good.Changed = time.Now()
		w.land(good)
		w.pass(time.Second)
		requireSignals(t, w, 2, 1, "for the file that replaced the one of which 1 died")
	})
}

func TestForeignSignal_DeathAtOtherInstall_CountsNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.start(7, oldImage)
		w.start(8, oldImage)
		w.name(8, "/other/rag-rat", 1)
		w.files["/other/rag-rat"] = at("/other/rag-rat", selector.Image{Dev: 1, Ino: 99})
		w.serve(t, 0)
		w.land(ready(newImage))
		w.pass(time.Second)
		w.dieOfAnother(8)
		if r := w.status(t).Rollouts[0]; r.Deaths != 0 || len(r.Foreign) != 0 {
			t.Errorf("the rollout is %+v, want no death in it: the server belonged to another install", r)
		}
	})
}

func TestForeignSignal_ArmedAfterExec_IsNoDeathLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHost()
		w.files["/a"] = at("/a", newImage)
		w.start(1, newImage)
		w.name(1, "/a", 1)
		w.serve(t, 0)
		w.pass(time.Second)
		w.events <- selector.Event{Kind: selector.EventSignal, PID: 1, At: time.Now(), Sender: 4242}
		w.events <- selector.Event{Kind: selector.EventExec, PID: 1, At: time.Now()}
		w.pass(time.Second) // it is inspected, and armed
		w.change(func() { delete(w.processes, 1) })
		w.events <- selector.Event{Kind: selector.EventExit, PID: 1, At: time.Now(), Exit: selector.Exit{Known: true, Status: 1 << 8}}
		w.pass(time.Second)
		if i := w.status(t).Installs[0]; i.Deaths != 0 {
			t.Errorf("the install has %d deaths, want none", i.Deaths)
		}
	})
}

// hangOfAnother has another sender signal a server, which execs the file that has just landed and hangs there.
func (w *world) hangOfAnother(pid selector.PID, image selector.Image) {
	w.events <- selector.Event{Kind: selector.EventSignal, PID: pid, At: time.Now(), Sender: 4242}
	w.pass(10 * time.Millisecond)
	w.change(func() { w.processes[pid].Image, w.processes[pid].Catches = image, false })
	w.events <- selector.Event{Kind: selector.EventExec, PID: pid, At: time.Now()}
	w.pass(time.Second)
}

// TestForeignSignal_HangsBeforeSettled_Halts: the servers' own trigger is quicker than the file settles. What the file
// before was decides whether a server was signalled for that, in vain.
func TestForeignSignal_HangsBeforeSettled_Halts(t *testing.T) {
	for name, before := range map[string]selector.Image{"up to date": oldImage, "signalled in vain": {Dev: 1, Ino: 15}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newHost()
				w.limits.Canary = 1
				w.files["/a"] = at("/a", before)
				w.begin(1, "/a", 1)
				w.serve(t, 0)
				w.pass(time.Second)
				w.change(func() { w.files["/a"] = at("/a", newImage) }) // it is told once it has settled
				w.hangOfAnother(1, newImage)
				w.land(at("/a", newImage))
				w.begin(2, "/a", 1)
				w.events <- selector.Event{Kind: selector.EventExec, PID: 2, At: time.Now()}
				w.pass(w.limits.ArmTimeout + time.Second)
				r := w.status(t).Rollouts[0]
				if r.Phase != rollout.PhaseHalted || len(r.Halts) != 1 || !strings.Contains(r.Halts[0].Reason, "process 4242") {
					t.Errorf("the rollout is %+v, want it halted after a signal of 4242", r)
				}
				requireSignals(t, w, 2, 0, "while the only server of the new file hangs")
			})
		})
	}
}
