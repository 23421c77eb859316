// SPDX-License-Identifier: MIT

package controller_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"ebpf-upgrader/internal/controller"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

func TestServer_TimesOut_SignalledAfterRetryTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.start(7, oldImage)
		w.serve(t, 0)
		w.land(ready(newImage))
		w.pass(0)
		requireSignals(t, w, 7, 1, "after the install")
		w.pass(rollout.DefaultRetryAfter - time.Second)
		requireSignals(t, w, 7, 1, "before the retry time")
		w.pass(2 * time.Second)
		requireSignals(t, w, 7, 2, "after the retry time")
		w.change(func() { w.processes[7].Image = newImage })
		w.events <- selector.Event{Kind: selector.EventExec, PID: 7}
		w.pass(10 * rollout.DefaultRetryAfter)
		requireSignals(t, w, 7, 2, "after it has upgraded")
	})
}

// TestLoop_HeldUp_InspectsAtOnce: it was stopped, or the machine slept, when it was
// about to note the time of the next look.
func TestLoop_HeldUp_InspectsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.stall = 2 * w.limits.Hold
		w.start(7, oldImage)
		w.serve(t, 0)
		w.land(ready(newImage))
		w.pass(3 * w.stall)
		requireSignals(t, w, 7, 1, "after the install")
		w.change(func() { w.processes[7].Image = newImage })
		w.events <- selector.Event{Kind: selector.EventExec, PID: 7}
		w.pass(3 * w.stall)
		w.mu.Lock()
		defer w.mu.Unlock()
		if last := w.moves[len(w.moves)-1]; last != "7 settling upgraded" {
			t.Errorf("the last step was %q", last)
		}
	})
}

// TestScript_Server_IsSignalledOnce: what it runs after its exec is not the installed file.
func TestScript_Server_IsSignalledOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.limits.Canary = 0
		w.start(7, oldImage)
		w.start(8, oldImage)
		w.serve(t, time.Minute)
		script := ready(newImage)
		script.Script = true
		w.land(script)
		w.pass(0)
		w.change(func() { w.processes[7].Image = selector.Image{Dev: 1, Ino: 99} })
		w.events <- selector.Event{Kind: selector.EventExec, PID: 7}
		w.events <- selector.Event{Kind: selector.EventExec, PID: 8} // the script leads to the same binary as before
		w.pass(time.Hour)
		requireSignals(t, w, 7, 1, "after an hour of scans")
		requireSignals(t, w, 8, 1, "after an hour of scans")
		script.Image.Ino = 21
		w.land(script)
		w.pass(0)
		requireSignals(t, w, 7, 2, "after the next install")
	})
}

func TestServer_ArmsLater_IsSignalledThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.serve(t, 0)
		w.land(ready(newImage))
		w.start(7, oldImage)
		w.change(func() { w.processes[7].Catches = false })
		w.events <- selector.Event{Kind: selector.EventExec, PID: 7}
		w.pass(3 * time.Second)
		requireSignals(t, w, 7, 0, "before it is armed")
		w.change(func() { w.processes[7].Catches = true })
		w.pass(time.Second)
		requireSignals(t, w, 7, 1, "a second after it was armed")
	})
}

func TestServer_NeverArms_RarelyInspected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.start(7, oldImage)
		w.change(func() { w.processes[7].Catches = false })
		w.serve(t, 0)
		w.land(ready(newImage))
		w.pass(time.Minute)
		after := len(w.rounds)
		w.pass(time.Hour)
		if n := len(w.rounds) - after; n > 120 {
			t.Errorf("%d rounds in the hour after patience ended, want one each 30 s at most", n)
		}
		requireSignals(t, w, 7, 0, "without a handler")
	})
}

// TestServer_Unreadable_IsInspectedAgain: the file system that has its binary was slow to answer,
// when it was looked at or when its turn had come.
func TestServer_Unreadable_IsInspectedAgain(t *testing.T) {
	for name, readable := range map[string]int{"at the first look": 0, "when its turn had come": 1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.start(7, oldImage)
				w.serve(t, 0)
				w.change(func() {
					w.looks[7] = 0
					w.unread = func(looks int) bool { return looks > readable && looks < readable+5 }
				})
				w.land(ready(newImage))
				w.pass(time.Second)
				requireSignals(t, w, 7, 1, "a second after the install")
			})
		})
	}
}

func TestFork_Stays_IsSignalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.serve(t, 0)
		w.land(ready(newImage))
		w.start(7, oldImage)
		born := time.Now()
		w.change(func() { w.processes[7].Forked, w.processes[7].Age = true, 0 })
		w.events <- selector.Event{Kind: selector.EventFork, PID: 7}
		w.pass(selector.ForkAge - time.Millisecond)
		requireSignals(t, w, 7, 0, "while it may be about to exec")
		w.change(func() { w.processes[7].Age = time.Since(born) + time.Millisecond })
		w.pass(time.Millisecond)
		requireSignals(t, w, 7, 1, "after it stayed")
	})
}

func TestInstall_RenamedBack_SignalsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.start(7, oldImage)
		w.serve(t, 0)
		w.land(ready(newImage))
		w.pass(0)
		requireSignals(t, w, 7, 1, "after the install")
		w.land(ready(oldImage))
		w.events <- selector.Event{Kind: selector.EventExec, PID: 7} // it found the old file at the path
		w.pass(time.Second)
		w.land(ready(newImage))
		w.pass(0)
		requireSignals(t, w, 7, 2, "after the file was renamed back")
	})
}

func TestInstall_NotReady_SignalsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.start(7, oldImage)
		w.serve(t, time.Second)
		unready := ready(newImage)
		unready.State = selector.StateUnready
		w.land(unready)
		w.pass(time.Minute)
		requireSignals(t, w, 7, 0, "while it is not ready")
		w.land(ready(newImage))
		w.pass(0)
		requireSignals(t, w, 7, 1, "once it is ready")
	})
}

func TestLosses_Event_LeadsToResync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.serve(t, 0)
		w.land(ready(newImage))
		w.start(7, oldImage)
		w.events <- selector.Event{Kind: selector.EventLost}
		w.pass(0)
		requireSignals(t, w, 7, 1, "after a loss")
	})
}

func TestResync_ListFails_IsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.start(7, oldImage)
		w.down = errors.New("no candidates today")
		w.serve(t, 0)
		w.land(ready(newImage))
		w.pass(10 * time.Second)
		if w.troubles < 2 {
			t.Errorf("%d troubles were told in 10 s, want several", w.troubles)
		}
		w.change(func() { w.down = nil })
		w.pass(2 * time.Second)
		requireSignals(t, w, 7, 1, "once the source answers")
	})
}

func TestRun_InputEnds_Fails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		service := controller.New(controller.Config{
			Deliverer: w.upgrader(), Limits: w.limits, Lister: w, Installs: w, Paths: []string{usual}, Observer: w,
		})
		close(w.found)
		if err := service.Run(t.Context()); !errors.Is(err, controller.ErrEnded) {
			t.Errorf("Run = %v, want ErrEnded", err)
		}
	})
}

// TestServer_AboutToExec_NoSecondSignal: the signal would reach it in the middle
// of its exec. What it execs is what stands at the path by then.
func TestServer_AboutToExec_NoSecondSignal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.start(7, oldImage)
		w.serve(t, 0)
		w.land(ready(newImage))
		w.pass(time.Second)
		newer := selector.Image{Dev: 1, Ino: 21}
		w.land(ready(newer))
		w.pass(time.Second)
		requireSignals(t, w, 7, 1, "while it is about to exec")
		w.change(func() { w.processes[7].Image = newImage }) // it was a moment too early
		w.events <- selector.Event{Kind: selector.EventExec, PID: 7}
		w.pass(time.Second)
		requireSignals(t, w, 7, 2, "after it has exec'd the one before")
	})
}

// TestInstall_OpenedForWriting_SignalsNone: no event tells that.
func TestInstall_OpenedForWriting_SignalsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.serve(t, time.Second)
		w.land(ready(newImage))
		w.change(func() { w.state = selector.StateUnready })
		w.start(7, oldImage)
		w.pass(10 * time.Second)
		requireSignals(t, w, 7, 0, "while the file is open for writing")
		w.change(func() { w.state = selector.StateReady })
		w.pass(2 * time.Second)
		requireSignals(t, w, 7, 1, "after it was closed")
	})
}

// TestFork_DuringSeed_IsFound: neither the seed nor an event had it.
func TestFork_DuringSeed_IsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.serve(t, 0)
		w.land(ready(newImage))
		w.start(7, oldImage)
		w.pass(selector.ForkAge + time.Second)
		requireSignals(t, w, 7, 1, "after the first audit")
	})
}

// TestExit_NotSignalled_IsNoDeath: code 70 is that of a failed exec, for which no signal was sent to the
// second one for.
// TestPID_UsedAgainBeforeTurn_IsAnother: what was planned for the one must not be sent to the other
// before that is looked at in its own right.
