// SPDX-License-Identifier: MIT

package controller_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

func TestCarried_ExecSeenByInspection_IsJudged(t *testing.T) {
	for name, brief := range map[string]bool{"in the scan": true, "when the event was lost": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.brief = brief
				w.start(7, oldImage)
				w.serve(t, 0)
				w.land(ready(newImage))
				w.pass(time.Second)
				newer := selector.Image{Dev: 1, Ino: 21}
				w.land(ready(newer))
				w.pass(100 * time.Millisecond)
				w.change(func() { w.processes[7].Image = newImage }) // it was a moment too early
				if !brief {
					w.events <- selector.Event{Kind: selector.EventLost}
				}
				w.pass(2 * time.Second)
				requireSignals(t, w, 7, 2, "after it exec'd the one before")
			})
		})
	}
}

func TestCarried_YetToBeJudged_IsNotComplete(t *testing.T) {
	for name, runs := range map[string]selector.Image{"another file": newImage, "the same behind a script": oldImage} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.start(7, oldImage)
				w.serve(t, 0)
				w.land(ready(newImage))
				w.pass(time.Second)
				w.land(ready(selector.Image{Dev: 1, Ino: 21}))
				w.pass(100 * time.Millisecond)
				w.change(func() { w.processes[7].Image = runs })
				w.events <- selector.Event{Kind: selector.EventExec, PID: 7}
				w.pass(time.Second)
				requireSignals(t, w, 7, 2, "after it exec'd the one before")
				if slices.Contains(w.phases, rollout.PhaseComplete) {
					t.Errorf("the phases were %v", w.phases)
				}
			})
		})
	}
}

func TestCarried_FoundCurrent_IsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.start(7, oldImage)
		w.serve(t, 0)
		w.land(ready(newImage))
		w.pass(time.Second)
		newer := selector.Image{Dev: 1, Ino: 21}
		w.land(ready(newer))
		w.pass(100 * time.Millisecond)
		w.change(func() { w.processes[7].Image = newer })
		w.events <- selector.Event{Kind: selector.EventExec, PID: 7}
		w.pass(time.Second)
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, r := range w.saved.Rollouts {
			if len(r.Members) > 0 {
				t.Errorf("these are kept: %+v", r.Members)
			}
		}
	})
}

func TestServer_ChangesViewWhileDraining_SignalledOnce(t *testing.T) {
	for name, isBrief := range map[string]bool{"scan": true, "events": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newHost()
				w.brief = isBrief
				w.files["/a"] = at("/a", newImage)
				w.begin(7, "/a", 1)
				w.serve(t, time.Second)
				w.pass(2 * time.Second)
				requireSignals(t, w, 7, 1, "at first")
				w.change(func() { w.processes[7].View = selector.View{Mounts: 9} })
				w.pass(50 * time.Second)
				requireSignals(t, w, 7, 1, "within the retry time, in another view of the same file")
				w.pass(30 * time.Second)
				requireSignals(t, w, 7, 2, "after the retry time")
			})
		})
	}
}
