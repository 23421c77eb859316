// SPDX-License-Identifier: MIT

package controller_test

import (
	"testing"
	"testing/synctest"
	"time"

	"ebpf-upgrader/internal/controller"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// TestWhoMayHaveBeenAskedByAnEarlierServiceIsLeftAlone until the retry time has passed, unless he has begun or exec'd
// since.
func TestWhoMayHaveBeenAskedByAnEarlierServiceIsLeftAlone(t *testing.T) {
	const before, execs, later, untold = 7, 8, 9, 10
	for name, restart := range map[string]bool{"by the service before": false, "by the one before that": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newHost()
				w.files["/a"] = at("/a", newImage)
				w.begin(before, "/a", 1)
				w.begin(execs, "/a", 1)
				w.saved = &controller.Saved{Lacking: true}
				stop := w.serve(t, 0)
				w.pass(rollout.DefaultRetryAfter / 2)
				if restart {
					if w.saved.Lacking {
						t.Fatal("what the service could keep is still lacking")
					}
					stop()
					w.serve(t, 0)
				}
				w.pass(time.Second)
				for _, pid := range []selector.PID{later, untold} {
					w.begin(pid, "/a", 1)
					w.change(func() { w.processes[pid].Age = 0 })
				}
				for _, pid := range []selector.PID{execs, later} {
					requireAsked(t, w, pid, 0, "before it exec'd")
					w.events <- controller.Event{Kind: controller.Execed, PID: pid}
				}
				if _, err := w.service.Trigger(t.Context(), "", 0); err != nil {
					t.Fatal(err)
				}
				w.pass(rollout.DefaultRetryAfter/2 - 2*time.Second)
				requireAsked(t, w, before, 0, "before the retry time")
				requireAsked(t, w, execs, 1, "after its exec")
				requireAsked(t, w, later, 1, "that began after the service")
				requireAsked(t, w, untold, 1, "that began after the service, and of which no event told")
				for _, s := range w.status(t).Rollouts {
					if s.Phase == rollout.PhaseComplete {
						t.Error("the rollout is complete")
					}
				}
				w.pass(2 * time.Second)
				requireAsked(t, w, before, 1, "after the retry time")
			})
		})
	}
}

// TestWhatCouldNotBeKeptIsStillLackingForTheNext: the disk is full for both.
func TestWhatCouldNotBeKeptIsStillLackingForTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHost()
		w.files["/a"] = at("/a", newImage)
		w.begin(7, "/a", 1)
		w.saved = &controller.Saved{Lacking: true}
		w.unsaved = errFull
		stop := w.serve(t, 0)
		w.pass(rollout.DefaultRetryAfter - time.Second)
		stop()
		w.serve(t, 0)
		w.pass(rollout.DefaultRetryAfter - time.Second)
		requireAsked(t, w, 7, 0, "before the retry time of the second service")
		w.pass(2 * time.Second)
		requireAsked(t, w, 7, 1, "after the retry time of the second service")
	})
}
