// SPDX-License-Identifier: MIT

package controller_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestRestart_NothingReadable_NoSecondSignal.
func TestRestart_NothingReadable_NoSecondSignal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.start(7, oldImage)
		stop := w.serve(t, 0)
		w.land(ready(newImage))
		w.pass(time.Second)
		stop()
		w.fails = errors.New("too many open files")
		go func() {
			time.Sleep(100 * time.Millisecond)
			w.change(func() { w.fails = nil })
		}()
		w.serve(t, 0)
		w.pass(30 * time.Second)
		requireSignals(t, w, 7, 1, "before the retry time")
	})
}
