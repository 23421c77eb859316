// SPDX-License-Identifier: MIT

package controller_test

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestServer_SeenInExec_IsLeftAloneForAWhile: once its exec goes on, nothing tells it from a server that runs.
func TestServer_SeenInExec_IsLeftAloneForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.limits.ConfirmTimeout, w.limits.RetryAfter = 500*time.Millisecond, time.Second
		w.start(7, oldImage)
		w.serve(t, 0)
		w.land(ready(newImage))
		w.pass(0)
		requireSignals(t, w, 7, 1, "after the install")
		w.change(func() { w.processes[7].MidExec = true })
		w.pass(10*time.Second + 100*time.Millisecond)
		requireSignals(t, w, 7, 1, "inside its exec")
		w.change(func() { w.processes[7].MidExec = false })
		w.pass(time.Second)
		requireSignals(t, w, 7, 1, "right after it was inside its exec")
		w.pass(5 * time.Minute)
		if n := w.signalCount(7); n < 2 {
			t.Errorf("it was signalled %d times, want again", n)
		}
	})
}
