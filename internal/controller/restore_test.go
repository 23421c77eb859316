// SPDX-License-Identifier: MIT

package controller_test

import (
	"errors"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"ebpf-upgrader/internal/controller"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// restarted is a host with a server 7, of user 1, that was signalled for the file at /a by a service that has ended, and cannot
// be read now.
func restarted(t *testing.T, scan bool) *world {
	t.Helper()
	w := newHost()
	w.brief = scan
	w.files["/a"] = at("/a", oldImage)
	w.begin(7, "/a", 1)
	stop := w.serve(t, time.Minute)
	w.pass(time.Second)
	w.land(at("/a", newImage))
	w.pass(time.Second)
	requireSignals(t, w, 7, 1, "before the restart")
	stop()
	w.hide(7, true)
	return w
}

func (w *world) hide(pid selector.PID, hidden bool) {
	w.change(func() { w.secret[pid] = hidden })
}

// bothSources runs a test with the events of a tracker, and without.
func bothSources(t *testing.T, test func(t *testing.T, scan bool)) {
	t.Helper()
	for name, scan := range map[string]bool{"with events": false, "through the scan": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, scan) })
		})
	}
}

// TestRestart_UnreadableServer_DelaysNoOther: servers that were signalled before cannot be read, which is their user's doing.
func TestRestart_UnreadableServer_DelaysNoOther(t *testing.T) {
	bothSources(t, func(t *testing.T, scan bool) {
		w := restarted(t, scan)
		w.files["/b"] = at("/b", newImage)
		w.begin(8, "/b", 2)
		w.serve(t, time.Minute)
		w.pass(100 * time.Millisecond)
		requireSignals(t, w, 8, 1, "soon after the start, beside one that cannot be read")
	})
}

// TestRestart_UnreadableServer_NoSecondSignal, whenever it can be read, also after more restarts.
func TestRestart_UnreadableServer_NoSecondSignal(t *testing.T) {
	for name, restarts := range map[string]int{"one restart": 1, "three restarts": 3} {
		t.Run(name, func(t *testing.T) {
			bothSources(t, func(t *testing.T, scan bool) {
				w := restarted(t, scan)
				for range restarts - 1 {
					stop := w.serve(t, time.Minute)
					w.pass(2 * time.Second)
					w.keepAnew(t)
					stop()
				}
				w.serve(t, time.Minute)
				w.pass(5 * time.Second)
				w.hide(7, false)
				w.pass(20 * time.Second)
				requireSignals(t, w, 7, 1, "before the retry time")
				w.pass(2 * time.Minute)
				if n := w.signalCount(7); n < 2 {
					t.Errorf("it was signalled %d times after the retry time, want again", n)
				}
			})
		})
	}
}

// TestRestart_NextInstall_WaitsForRetryTime: the file that it was signalled for is
// not installed any more when it can be read.
func TestRestart_NextInstall_WaitsForRetryTime(t *testing.T) {
	for name, restarts := range map[string]int{"at once": 0, "after another restart": 1} {
		t.Run(name, func(t *testing.T) {
			bothSources(t, func(t *testing.T, scan bool) {
				w := restarted(t, scan)
				w.begin(8, "/a", 1) // which names the place all the time
				stop := w.serve(t, time.Minute)
				w.pass(time.Second)
				w.land(at("/a", selector.Image{Dev: 1, Ino: 21}))
				w.pass(time.Second)
				w.keepAnew(t)
				for range restarts {
					stop()
					w.serve(t, time.Minute)
				}
				w.pass(10 * time.Second)
				w.hide(7, false)
				w.pass(2 * time.Second)
				if m := w.memberOf(t, 7); m.State != rollout.Signalled || m.Rollout != w.memberOf(t, 8).Rollout {
					t.Errorf("soon after it can be read it is %+v, want it on its way, in the rollout of the others", m)
				}
				if n := w.savedRollouts(); n != 1+restarts {
					t.Errorf("%d rollouts are kept, want the last one, and others for a while after a restart", n)
				}
				w.pass(20 * time.Second)
				requireSignals(t, w, 7, 1, "before the retry time, for the next install")
				w.pass(controller.DefaultForgetAfter)
				if n := w.signalCount(7); n < 2 {
					t.Errorf("it was signalled %d times after the retry time, want again", n)
				}
				if n := w.savedRollouts(); n != 1 {
					t.Errorf("%d rollouts are kept in the end, want the last one", n)
				}
			})
		})
	}
}

// keepAnew has the service keep everything anew, as a pause does.
func (w *world) keepAnew(t *testing.T) {
	t.Helper()
	if err := errors.Join(w.pause(t.Context()), w.resume(t.Context())); err != nil {
		t.Fatal(err)
	}
}

// memberOf is where a server stands in its rollout.
func (w *world) memberOf(t *testing.T, pid selector.PID) rollout.Member {
	t.Helper()
	servers, err := w.service.Servers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range servers {
		if s.PID == pid && s.Rollout != nil {
			return *s.Rollout
		}
	}
	return rollout.Member{}
}

// TestRestart_BoundLate_KeepsTheNewRollout: the others at the place have been upgraded since, behind a script,
// and are signalled no more.
func TestRestart_BoundLate_KeepsTheNewRollout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := restarted(t, false)
		w.begin(8, "/a", 1)
		stop := w.serve(t, time.Minute)
		w.pass(time.Second)
		script := at("/a", selector.Image{Dev: 1, Ino: 21})
		script.Script = true
		w.land(script)
		w.pass(time.Second)
		w.pass(2 * time.Minute) // it is signalled for the one after that as well by now
		before := w.signalCount(8)
		w.events <- selector.Event{Kind: selector.EventExec, PID: 8}
		w.pass(10 * time.Second)
		stop()
		w.hide(7, false)
		w.serve(t, time.Minute)
		w.pass(10 * time.Minute)
		requireSignals(t, w, 8, before, "after it has upgraded")
	})
}

// TestRestart_ExecsBeforeRead_IsUpgraded, as any other that was signalled.
func TestRestart_ExecsBeforeRead_IsUpgraded(t *testing.T) {
	bothSources(t, func(t *testing.T, scan bool) {
		w := restarted(t, scan)
		w.serve(t, time.Minute)
		w.pass(time.Second)
		w.change(func() { w.processes[7].Image = newImage })
		if !scan {
			w.events <- selector.Event{Kind: selector.EventExec, PID: 7}
		}
		w.pass(time.Second)
		w.hide(7, false)
		w.pass(time.Minute)
		requireSignals(t, w, 7, 1, "after it has upgraded")
		if m := w.memberOf(t, 7); m.State != rollout.Upgraded {
			t.Errorf("it is %+v, want it upgraded", m)
		}
	})
}

// If it died of the file, no other server is signalled for that.
func TestRestart_UnreadableServerEnds_Counts(t *testing.T) {
	for name, c := range map[string]struct {
		status syscall.WaitStatus
		asked  bool
	}{"its exec failed": {70 << 8, false}, "its session ended": {0, true}} {
		t.Run(name, func(t *testing.T) {
			bothSources(t, func(t *testing.T, scan bool) {
				w := restarted(t, scan)
				w.serve(t, time.Minute)
				w.pass(time.Second)
				w.finish(7, c.status)
				w.pass(time.Second)
				w.begin(8, "/a", 1)
				w.pass(80 * time.Second)
				if asked := w.signalCount(8) > 0; asked != c.asked {
					t.Errorf("another was signalled after its end: %t, want %t", asked, c.asked)
				}
			})
		})
	}
}

// finish ends a process, and tells of it.
func (w *world) finish(pid selector.PID, status syscall.WaitStatus) {
	exit := selector.Exit{Known: true, Status: uint32(status)}
	w.change(func() {
		delete(w.processes, pid)
		w.ended[pid] <- exit
	})
	if !w.brief {
		w.events <- selector.Event{Kind: selector.EventExit, PID: pid, Exit: exit}
	}
}

// TestRestart_UnreadableServerEnds_IsForgotten, and not before, although its rollout has no install any more.
func TestRestart_UnreadableServerEnds_IsForgotten(t *testing.T) {
	bothSources(t, func(t *testing.T, scan bool) {
		w := restarted(t, scan)
		w.serve(t, time.Minute)
		w.pass(2 * controller.DefaultForgetAfter)
		if n := w.savedRollouts(); n != 1 {
			t.Errorf("%d rollouts are kept while one is awaited, want its rollout", n)
		}
		w.finish(7, 0)
		w.pass(time.Minute)
		if n := w.savedRollouts(); n != 0 {
			t.Errorf("%d rollouts are kept after its end, want none", n)
		}
	})
}

// TestRestart_RestoredServer_IsShown although nothing can be exec'd where the operator said.
func TestRestart_RestoredServer_IsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.start(7, oldImage)
		stop := w.serve(t, 0)
		w.land(ready(newImage))
		w.pass(time.Second)
		stop()
		w.change(func() { w.state = selector.StateUnready })
		w.serve(t, 0)
		w.pass(time.Second)
		servers, err := w.service.Servers(t.Context())
		if err != nil || len(servers) != 1 || len(servers[0].Args) == 0 {
			t.Errorf("%+v are shown, %v; want one with its arguments", servers, err)
		}
	})
}
