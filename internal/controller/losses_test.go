// SPDX-License-Identifier: MIT

package controller_test

import (
	"testing"
	"testing/synctest"
	"time"

	"ebpf-upgrader/selector"
)

func TestLosses_WithoutEnd_LeaveTimeForTheRest(t *testing.T) {
	for name, c := range map[string]struct {
		takes time.Duration
		most  int
	}{"rounds that take no time": {0, 41}, "rounds that take 100 ms": {100 * time.Millisecond, 10}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.limits.Canary = 0
				w.start(7, newImage)
				w.serve(t, 0)
				w.land(ready(newImage))
				w.pass(time.Minute)
				w.slowLooks(func(selector.Process) time.Duration { return c.takes })
				before := w.lossRounds()
				for range 10 * 100 {
					w.events <- selector.Event{Kind: selector.EventLost}
					w.pass(10 * time.Millisecond)
				}
				if n := w.lossRounds() - before; n < 5 || n > c.most {
					t.Errorf("%d rounds were made in 10 s of losses, want 5 to %d", n, c.most)
				}
				w.start(8, oldImage) // its exec is lost as well
				w.pass(2 * time.Second)
				w.events <- selector.Event{Kind: selector.EventLost}
				w.pass(2 * time.Second)
				requireSignals(t, w, 8, 1, "after the last loss")
			})
		})
	}
}

func TestLosses_ResyncPending_ServersAreSignalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.start(7, newImage)
		w.serve(t, 0)
		w.land(ready(newImage))
		w.pass(time.Minute)
		w.slowLooks(func(selector.Process) time.Duration { return time.Second })
		w.events <- selector.Event{Kind: selector.EventLost}
		w.pass(time.Millisecond)
		w.slowLooks(nil)
		w.events <- selector.Event{Kind: selector.EventLost} // its resync waits
		w.start(8, oldImage)
		w.events <- selector.Event{Kind: selector.EventExec, PID: 8}
		w.pass(100 * time.Millisecond)
		requireSignals(t, w, 8, 1, "while a round is to come")
	})
}
