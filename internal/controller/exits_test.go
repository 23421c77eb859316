// SPDX-License-Identifier: MIT

package controller_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"ebpf-upgrader/selector"
)

// quits is the end of a session.
var quits = selector.Exit{Known: true}

// TestExit_SeenBeforeItsEvent_IsWhatTheEventSays: /proc has no process any more from the moment on
// in which it begins to exit, and a guess would halt the rollout.
func TestExit_SeenBeforeItsEvent_IsWhatTheEventSays(t *testing.T) {
	execs := func(w *world) {
		w.change(func() { w.processes[7].Image = newImage })
		w.events <- selector.Event{Kind: selector.EventExec, PID: 7}
	}
	for name, c := range map[string]struct {
		before  func(*world)
		exit    selector.Exit
		outcome string
	}{
		"a clean one after the signal": {func(*world) {}, quits, "7 signalled exited"},
		"a crash after the signal":     {func(*world) {}, selector.Exit{Known: true, Status: 70 << 8}, "7 signalled crashed"},
		"a clean one after the exec":   {execs, quits, "7 settling crashed"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.start(7, oldImage)
				w.serve(t, 0)
				w.land(ready(newImage))
				w.pass(100 * time.Millisecond)
				c.before(w)
				w.change(func() { delete(w.processes, 7) })
				w.events <- selector.Event{Kind: selector.EventLost} // and all are inspected
				w.pass(1500 * time.Millisecond)
				w.events <- selector.Event{Kind: selector.EventExit, PID: 7, Exit: c.exit}
				w.pass(time.Minute)
				w.requireLast(t, c.outcome, "after the event")
			})
		})
	}
}

func TestExit_WithoutEvent_IsADeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.start(7, oldImage)
		w.serve(t, 0)
		w.land(ready(newImage))
		w.pass(100 * time.Millisecond)
		w.change(func() { delete(w.processes, 7) })
		w.events <- selector.Event{Kind: selector.EventLost}
		w.pass(1500 * time.Millisecond)
		w.requireLast(t, "7 pending signalled", "while it may still be told")
		w.pass(time.Second)
		w.requireLast(t, "7 signalled crashed", "after that")
	})
}

// TestCanary_DiedUnseen_NoOtherGoes: the event of its end is lost, and no loss was reported yet.
func TestCanary_DiedUnseen_NoOtherGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.start(7, oldImage)
		w.start(8, oldImage)
		w.serve(t, 0)
		w.land(ready(newImage))
		w.pass(100 * time.Millisecond)
		w.requireLast(t, "7 pending signalled", "as the canary")
		w.change(func() { delete(w.processes, 7) })
		w.pass(time.Minute)
		if n := w.signalCount(8); n != 0 {
			t.Errorf("8 was signalled %d times for a binary of which 7 died", n)
		}
	})
}

// TestExit_SeenBeforeThePin_IsWhatThePinSays: the same without the kernel's events.
func TestExit_SeenBeforeThePin_IsWhatThePinSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.brief = true
		w.start(7, oldImage)
		w.serve(t, 10*time.Minute)
		w.land(ready(newImage))
		w.pass(100 * time.Millisecond)
		w.change(func() { delete(w.processes, 7) })
		w.pass(1500 * time.Millisecond) // it is looked at all the time
		w.ended[7] <- quits
		w.pass(time.Minute)
		w.requireLast(t, "7 signalled crashed", "after the pin told: nothing shows that it did not exec before")
	})
}

// TestPID_UsedAgain_WaitsForTheExit: neither is taken for the other.
func TestPID_UsedAgain_WaitsForTheExit(t *testing.T) {
	for name, tell := range map[string]func(*world){
		"by the event": func(w *world) { w.events <- selector.Event{Kind: selector.EventExit, PID: 7, Exit: quits} },
		"by nothing":   func(*world) {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.limits.MaxFailures = 2
				w.start(7, oldImage)
				w.serve(t, 0)
				w.land(ready(newImage))
				w.pass(100 * time.Millisecond)
				w.change(func() { w.processes[7].StartTime++ })
				w.events <- selector.Event{Kind: selector.EventLost}
				w.pass(100 * time.Millisecond)
				requireSignals(t, w, 7, 1, "before the end of the first is known")
				tell(w)
				w.pass(10 * time.Second)
				requireSignals(t, w, 7, 2, "once it is")
				left := slices.Contains(w.moves, "7 signalled exited")
				if told := name == "by the event"; left != told {
					t.Errorf("the steps are %q", w.moves)
				}
			})
		})
	}
}

// TestUnreadable_Process_IsNotTakenForAnother: the service was out of descriptors for a moment.
func TestUnreadable_Process_IsNotTakenForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHost()
		w.files["/a"] = at("/a", oldImage)
		for pid := range selector.PID(3) {
			w.begin(pid+7, "/a", 1)
		}
		w.serve(t, 0)
		w.pass(time.Second)
		w.onSignal = func(pid selector.PID) {
			w.fails = errors.New("too many open files")
			go func() {
				w.pass(500 * time.Millisecond)
				w.change(func() { w.fails = nil })
			}()
		}
		w.land(at("/a", newImage))
		w.pass(100 * time.Millisecond)
		w.events <- selector.Event{Kind: selector.EventLost}
		w.pass(100 * time.Millisecond)
		if s := w.status(t); len(s.Installs) != 1 || s.Installs[0].Servers != 3 {
			t.Errorf("meanwhile the installs are %+v", s.Installs)
		}
		w.onSignal = nil
		w.pass(5 * time.Second)
		for pid := range selector.PID(3) {
			requireSignals(t, w, pid+7, 1, "after it could be read again")
		}
		if i := slices.IndexFunc(w.moves, func(m string) bool { return m[2:] == "notified died" || m[2:] == "pending left" }); i >= 0 {
			t.Errorf("a living server is said to have ended: %q", w.moves)
		}
	})
}

// TestEvent_ExecBeforeSignal_IsNoUpgrade: its event waited behind thousands.
func TestEvent_ExecBeforeSignal_IsNoUpgrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.start(7, oldImage)
		w.serve(t, 0)
		began := time.Now()
		w.pass(time.Second)
		script := ready(newImage)
		script.Script = true
		w.land(script)
		asked := time.Now()
		w.pass(time.Second)
		for _, kind := range []selector.EventKind{selector.EventExec, selector.EventExecOther} {
			w.events <- selector.Event{Kind: kind, PID: 7, At: began}
			w.pass(time.Second)
			w.requireLast(t, "7 pending signalled", "after an old event")
		}
		w.events <- selector.Event{Kind: selector.EventExec, PID: 7, At: asked} // the script leads to the same binary
		w.pass(100 * time.Millisecond)
		w.requireLast(t, "7 settling settling", "after an exec in the moment of the signal")
	})
}

// TestEvent_SignalBeforeInstall_IsNotForIt: another sender signalled it for the file before, the server exec'd that,
// and both events waited behind thousands.
func TestEvent_SignalBeforeInstall_IsNotForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.start(7, oldImage)
		w.serve(t, 0)
		if err := w.pause(t.Context()); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		w.pass(time.Second)
		w.land(ready(newImage))
		w.pass(time.Second)
		for _, kind := range []selector.EventKind{selector.EventSignal, selector.EventExec} {
			w.events <- selector.Event{Kind: kind, PID: 7, At: began}
			w.pass(time.Second)
			w.requireLast(t, "7 none pending", "after an old event")
		}
		w.events <- selector.Event{Kind: selector.EventSignal, PID: 7, At: time.Now()}
		w.pass(time.Second)
		w.requireLast(t, "7 pending signalled", "after a signal")
		w.events <- selector.Event{Kind: selector.EventExec, PID: 7, At: began}
		w.pass(time.Second)
		w.requireLast(t, "7 pending signalled", "after an exec from before the signal")
	})
}

// TestEvent_OldExec_IsAHint: the server may have exec'd again.
func TestEvent_OldExec_IsAHint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.start(7, oldImage)
		w.serve(t, 0)
		began := time.Now()
		w.pass(time.Second)
		w.land(ready(newImage))
		w.pass(time.Second)
		w.change(func() { w.processes[7].Image = newImage })
		w.events <- selector.Event{Kind: selector.EventExec, PID: 7, At: began}
		w.pass(time.Second)
		w.requireLast(t, "7 settling settling", "after a look, armed")
	})
}

// TestEvent_ExitBeforeStart_IsOfAnother: the number was used again before its event was read.
func TestEvent_ExitBeforeStart_IsOfAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		before := time.Now()
		w.pass(time.Second)
		w.start(7, oldImage)
		w.change(func() { w.processes[7].Age = 0 })
		w.serve(t, 0)
		w.land(ready(newImage))
		w.pass(100 * time.Millisecond)
		w.events <- selector.Event{Kind: selector.EventExit, PID: 7, At: before, Exit: selector.Exit{Known: true, Status: 1 << 8}}
		w.pass(time.Second)
		w.requireLast(t, "7 pending signalled", "after the end of another")
		w.change(func() { delete(w.processes, 7) })
		w.events <- selector.Event{Kind: selector.EventExit, PID: 7, At: time.Now(), Exit: quits}
		w.pass(time.Second)
		w.requireLast(t, "7 signalled exited", "after its own")
	})
}
