// SPDX-License-Identifier: MIT

package controller_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/controller"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// at is what stands at a path.
func at(path string, image selector.Image) selector.Install {
	i := ready(image)
	i.Path = path
	return i
}

// newHost is a world where the servers name the installs.
func newHost() *world {
	w := newWorld()
	w.learned = true
	w.limits.Canary = 0
	return w
}

// name makes a server of a user name an install.
func (w *world) name(pid selector.PID, path string, user uint32) {
	w.change(func() {
		p := w.processes[pid]
		p.Variable, p.Path, p.Credentials.Owner.UID = path, path, user
	})
}

// begin starts an armed server of a user.
func (w *world) begin(pid selector.PID, path string, user uint32) {
	w.start(pid, oldImage)
	w.name(pid, path, user)
}

func (w *world) status(t *testing.T) api.Status {
	t.Helper()
	status, err := w.service.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return status
}

func TestInstall_EachServer_ItsOwnOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHost()
		w.files["/a"], w.files["/b"] = at("/a", oldImage), at("/b", oldImage)
		w.begin(7, "/a", 1)
		w.begin(8, "/b", 2)
		w.serve(t, 0)
		w.pass(time.Second)
		w.land(at("/a", newImage))
		w.pass(time.Second)
		requireSignals(t, w, 7, 1, "after its install")
		requireSignals(t, w, 8, 0, "after another's install")
		w.land(at("/b", newImage))
		w.pass(time.Second)
		requireSignals(t, w, 7, 1, "after another's install")
		requireSignals(t, w, 8, 1, "after its install")
	})
}

// TestInstall_OtherView_WatchedOnceRetained: before, nothing could be found there.
func TestInstall_OtherView_WatchedOnceRetained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHost()
		w.files["/a"] = at("/a", oldImage)
		w.begin(7, "/a", 1)
		w.change(func() { w.processes[7].View = selector.View{Mounts: 1} })
		w.serve(t, 0)
		w.pass(time.Second)
		if len(w.watched) != 1 || w.unsighted != 0 {
			t.Errorf("%d places are watched, %d of them before their root could be opened", len(w.watched), w.unsighted)
		}
	})
}

// TestInstalls_OfOneFile_ShareItsRollout: with one canary, however many paths and users there are.
func TestInstalls_OfOneFile_ShareItsRollout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHost()
		w.limits.Canary = 1
		for pid, path := range map[selector.PID]string{7: "/a", 8: "/a", 9: "/link"} {
			w.files[path] = at(path, oldImage)
			w.begin(pid, path, uint32(pid))
		}
		w.serve(t, 0)
		w.pass(time.Second)
		w.land(at("/a", newImage))
		w.land(at("/link", newImage))
		w.pass(500 * time.Millisecond)
		if asked := w.signalCount(7) + w.signalCount(8) + w.signalCount(9); asked != 1 {
			t.Errorf("%d were signalled at first, want one canary", asked)
		}
		w.pass(10 * time.Second)
		if asked := w.signalCount(7) + w.signalCount(8) + w.signalCount(9); asked != 3 {
			t.Errorf("%d were signalled in the end, want all", asked)
		}
		if s := w.status(t); len(s.Rollouts) != 1 || len(s.Installs) != 3 {
			t.Errorf("%d rollouts of %d installs, want 1 of 3", len(s.Rollouts), len(s.Installs))
		}
	})
}

// The user may have had it die on purpose.
func TestRollout_ServerDies_HaltsItsUserOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHost()
		w.limits.Canary = 1
		w.files["/shared"] = at("/shared", oldImage)
		for pid := selector.PID(1); pid <= 6; pid++ {
			w.begin(pid, "/shared", uint32(pid%3))
		}
		victim := selector.PID(0)
		w.onSignal = func(pid selector.PID) {
			if victim == 0 {
				victim = pid
			}
			go w.answer(*w.processes[pid], pid == victim)
		}
		w.serve(t, 0)
		w.pass(time.Second)
		w.land(at("/shared", newImage))
		w.pass(time.Minute)
		for pid := selector.PID(1); pid <= 6; pid++ {
			want := 1
			if pid%3 == victim%3 && pid != victim {
				want = 0
			}
			requireSignals(t, w, pid, want, fmt.Sprintf("after %d died", victim))
		}
		if r := w.status(t).Rollouts[0]; len(r.Halts) != 1 || r.Halts[0].UID != uint32(victim%3) || r.Phase != rollout.PhaseHalted {
			t.Errorf("the rollout is %+v, want it halted for the user of %d, and otherwise done", r, victim)
		}
	})
}

func TestRollout_CanariesOfThreeUsersDie_HaltsForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHost()
		w.limits.Canary = 1
		w.files["/shared"] = at("/shared", oldImage)
		for pid := selector.PID(1); pid <= 12; pid++ {
			w.begin(pid, "/shared", uint32(pid%4))
		}
		w.onSignal = func(pid selector.PID) { go w.answer(*w.processes[pid], true) }
		w.serve(t, 0)
		w.pass(time.Second)
		w.land(at("/shared", newImage))
		w.pass(time.Hour)
		if s := w.status(t); len(w.processes) != 9 || s.Rollouts[0].Deaths != 3 || s.Rollouts[0].Phase != rollout.PhaseHalted {
			t.Errorf("%d of 12 live after %d deaths, and the rollout is %s; want 9 after 3, halted",
				len(w.processes), s.Rollouts[0].Deaths, s.Rollouts[0].Phase)
		}
		if told := slices.Compact(w.halts); !slices.Equal(told, []int{0, 1, 2, 3}) {
			t.Errorf("the observer was told of %v halts, want each", told)
		}
	})
}

// answer is a server that execs what it names, or dies of it.
func (w *world) answer(p selector.Process, dies bool) {
	time.Sleep(10 * time.Millisecond)
	event := selector.Event{Kind: selector.EventExec, PID: p.PID}
	w.change(func() {
		if dies {
			delete(w.processes, p.PID)
			event = selector.Event{Kind: selector.EventExit, PID: p.PID, Exit: selector.Exit{Known: true, Status: 70 << 8}}
			return
		}
		w.processes[p.PID].Image = w.files[p.Path].Image
	})
	w.mu.Lock()
	stopped := w.stopped
	w.mu.Unlock()
	select {
	case w.events <- event:
	case <-stopped:
	}
}

func TestInstall_Unnamed_IsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHost()
		w.files["/a"] = at("/a", newImage)
		w.begin(7, "/a", 1)
		w.serve(t, 0)
		w.pass(time.Second)
		w.change(func() { delete(w.processes, 7) })
		w.events <- selector.Event{Kind: selector.EventExit, PID: 7}
		w.pass(controller.DefaultForgetAfter - time.Minute)
		if s := w.status(t); len(s.Installs) != 1 {
			t.Errorf("%d installs are watched a minute early, want 1", len(s.Installs))
		}
		w.begin(8, "/a", 1) // which counts anew
		w.events <- selector.Event{Kind: selector.EventExec, PID: 8}
		w.pass(2 * time.Minute)
		if s := w.status(t); len(s.Installs) != 1 {
			t.Errorf("%d installs are watched while a server names one", len(s.Installs))
		}
		w.change(func() { delete(w.processes, 8) })
		w.events <- selector.Event{Kind: selector.EventExit, PID: 8}
		w.pass(controller.DefaultForgetAfter + time.Second)
		if s := w.status(t); len(s.Installs) != 0 || len(s.Rollouts) != 0 || len(w.forgot) != 1 {
			t.Errorf("%d installs and %d rollouts are left, %d were forgotten", len(s.Installs), len(s.Rollouts), len(w.forgot))
		}
	})
}

// TestServer_NamesOtherInstall_IsComparedWithIt: it exec'd with another environment, rewrote its
// own, or sees other files now.
func TestRestart_RolloutUnnamed_IsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHost()
		w.files["/a"] = at("/a", oldImage)
		w.begin(7, "/a", 1)
		stop := w.serve(t, 0)
		w.pass(time.Second)
		stop()
		if n := w.savedRollouts(); n != 1 {
			t.Fatalf("%d rollouts are kept, want 1", n)
		}
		w.change(func() { delete(w.processes, 7) })
		w.serve(t, 0)
		w.pass(controller.DefaultForgetAfter - time.Second)
		if n := w.savedRollouts(); n != 1 {
			t.Errorf("%d rollouts are kept soon after the start, want 1", n)
		}
		w.pass(2 * time.Second)
		if n := w.savedRollouts(); n != 0 {
			t.Errorf("%d rollouts are kept that no server names, want none", n)
		}
	})
}

func (w *world) savedRollouts() (n int) {
	w.change(func() { n = len(w.saved.Rollouts) })
	return n
}

func TestServer_NamesOtherInstall_IsComparedWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHost()
		w.files["/a"], w.files["/b"] = at("/a", oldImage), at("/b", newImage)
		w.begin(7, "/a", 1)
		w.serve(t, 0)
		w.pass(time.Second)
		requireSignals(t, w, 7, 0, "while it runs what it names")
		w.name(7, "/b", 1)
		w.events <- selector.Event{Kind: selector.EventExec, PID: 7}
		w.pass(time.Second)
		requireSignals(t, w, 7, 1, "once it names another file")
		w.name(7, "/a", 1)
		w.change(func() { w.files["/a"] = at("/a", selector.Image{Dev: 1, Ino: 21}) })
		w.land(at("/a", selector.Image{Dev: 1, Ino: 21}))
		w.events <- selector.Event{Kind: selector.EventLost}
		w.pass(time.Second)
		requireSignals(t, w, 7, 1, "after it was signalled, and has not exec'd")
	})
}

// TestDelivery_NamesOtherInstall_IsNotSignalled: what was planned was for what it
// named before.
func TestDelivery_NamesOtherInstall_IsNotSignalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHost()
		w.limits.Canary = 1
		w.limits.CanaryTimeout = time.Hour
		w.files["/a"], w.files["/b"] = at("/a", newImage), at("/b", oldImage)
		w.begin(7, "/a", 1) // the canary, which does nothing
		w.begin(8, "/a", 1)
		w.serve(t, 0)
		w.pass(500 * time.Millisecond)
		requireSignals(t, w, 7, 1, "as the canary")
		w.name(8, "/b", 1)
		w.pass(time.Minute)
		requireSignals(t, w, 8, 0, "after it named another install")
		if s := w.status(t); s.Verdicts[selector.UpToDate] != 1 {
			t.Errorf("the verdicts are %v, want it up to date with what it names", s.Verdicts)
		}
	})
}

// The processes over the limit are not inspected, and that is shown.
