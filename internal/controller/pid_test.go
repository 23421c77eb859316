// SPDX-License-Identifier: MIT

package controller_test

import (
	"testing"
	"testing/synctest"
	"time"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

func TestPID_UsedAgain_IsAnotherServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.limits.MaxFailures = 2 // no event tells how the first one ends
		w.start(7, oldImage)
		w.serve(t, time.Second)
		w.land(ready(newImage))
		w.pass(0)
		w.change(func() { w.processes[7].StartTime++ }) // without an event: it was lost
		w.pass(4 * time.Second)
		requireSignals(t, w, 7, 2, "after another server got its number")
	})
}

func TestExit_NotSignalled_IsNoDeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.limits.Canary, w.limits.MaxFailures = 0, 2
		w.start(7, oldImage)
		w.start(8, oldImage)
		w.change(func() { w.processes[8].Catches = false })
		w.serve(t, 0)
		w.land(ready(newImage))
		w.pass(time.Second)
		for _, pid := range []selector.PID{7, 8} {
			w.change(func() { delete(w.processes, pid) })
			w.events <- selector.Event{Kind: selector.EventExit, PID: pid, Exit: selector.Exit{Known: true, Status: 70 << 8}}
		}
		status, err := w.service.Status(t.Context())
		counts := status.Rollouts[0].Servers
		if err != nil || len(counts) != 2 || counts[rollout.Crashed] != 1 || counts[rollout.Exited] != 1 {
			t.Errorf("the rollout has %v, %v; want one that died and one that left", counts, err)
		}
	})
}

func TestPID_UsedAgainBeforeTurn_IsAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.start(7, oldImage) // the canary, which does nothing
		w.start(8, oldImage)
		w.serve(t, 0)
		w.land(ready(newImage))
		w.pass(500 * time.Millisecond)
		w.change(func() { w.processes[8].StartTime++ }) // without an event: it was lost
		w.pass(30 * time.Second)
		requireSignals(t, w, 8, 1, "after its turn")
		status, err := w.service.Status(t.Context())
		if counts := status.Rollouts[0].Servers; err != nil || counts[rollout.Exited] != 1 || counts[rollout.Signalled] != 2 {
			t.Errorf("the rollout has %v, %v; want one that left and two that were signalled", counts, err)
		}
	})
}
