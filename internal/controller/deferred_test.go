// SPDX-License-Identifier: MIT

package controller_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// TestDeferred_Process_IsNotComplete: one user has so many processes that are slow to be read that
// the rest of them are looked at later. The last of them is outdated.
func TestDeferred_Process_IsNotComplete(t *testing.T) {
	const many, last = 200, selector.PID(5000)
	for name, learned := range map[string]bool{"named by the servers": true, "named by the operator": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newHost()
				w.learned = learned
				w.onSignal = func(pid selector.PID) { go w.answer(*w.processes[pid], false) }
				w.files[usual] = at(usual, newImage)
				for i := range many {
					pid := 1000 + selector.PID(i)
					w.begin(pid, usual, 1)
					w.change(func() { w.processes[pid].Image = newImage })
				}
				w.begin(last, usual, 1)
				w.slowLooks(func(selector.Process) time.Duration { return 30 * time.Millisecond })
				w.serve(t, 0)
				for deadline := time.Now().Add(10 * time.Minute); !w.isComplete(); w.pass(10 * time.Millisecond) {
					if time.Now().After(deadline) {
						t.Fatalf("nothing is complete after 10 minutes: %v", w.phases)
					}
				}
				requireSignals(t, w, last, 1, "when everything is complete")
				w.change(func() {
					for i := range many {
						if pid := 1000 + selector.PID(i); w.looks[pid] == 0 {
							t.Fatalf("%d was not looked at when everything was complete", pid)
						}
					}
				})
			})
		})
	}
}

func (w *world) isComplete() (complete bool) {
	w.change(func() { complete = slices.Contains(w.phases, rollout.PhaseComplete) })
	return complete
}

// TestDeferred_OtherUser_IsComplete.
func TestDeferred_OtherUser_IsComplete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHost()
		w.files["/a"], w.files["/b"] = at("/a", newImage), at("/b", selector.Image{Dev: 1, Ino: 21})
		for i := range 2000 {
			w.begin(1000+selector.PID(i), "/a", 1)
		}
		w.begin(7, "/b", 2)
		w.change(func() { w.processes[7].Image = w.files["/b"].Image })
		w.slowLooks(func(p selector.Process) time.Duration {
			return time.Duration(p.Credentials.Owner.UID%2) * 30 * time.Millisecond
		})
		w.serve(t, 0)
		w.pass(2 * time.Second)
		if !w.isComplete() {
			t.Errorf("the phases were %v, want that of the other user complete", w.phases)
		}
	})
}

// TestDeferred_ProcessGone_IsNotWaitedFor: it has ended, or its user has too many by now.
func TestDeferred_ProcessGone_IsNotWaitedFor(t *testing.T) {
	const many, first = 2000, selector.PID(1000)
	begin := func(w *world, pid selector.PID) {
		w.begin(pid, "/a", 1)
		w.change(func() { w.processes[pid].Image = newImage })
	}
	for name, do := range map[string]func(w *world){
		"it has ended": func(w *world) {
			for pid := first + 5; pid < first+many; pid++ {
				w.change(func() { delete(w.processes, pid) })
				w.events <- selector.Event{Kind: selector.EventExit, PID: pid, Exit: selector.Exit{Known: true}}
			}
		},
		"it has ended unseen": func(w *world) {
			w.change(func() {
				for pid := first + 5; pid < first+many; pid++ {
					delete(w.processes, pid)
				}
			})
			_, _ = w.service.Trigger(context.Background(), "", 0)
		},
		"its user has too many": func(w *world) {
			w.slowLooks(nil)
			for i := range many / 2 {
				begin(w, first+many+selector.PID(i))
				w.events <- selector.Event{Kind: selector.EventExec, PID: first + many + selector.PID(i)}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newHost()
				w.maxPerUser = many
				w.files["/a"] = at("/a", newImage)
				begin(w, 1)
				w.serve(t, 0)
				w.pass(time.Minute)
				w.change(func() { w.phases = nil })
				for i := range many {
					begin(w, first+selector.PID(i))
				}
				w.slowLooks(func(selector.Process) time.Duration { return 30 * time.Millisecond })
				w.events <- selector.Event{Kind: selector.EventLost}
				w.pass(2 * time.Second)
				if r := w.status(t).Rollouts[0]; r.Phase == rollout.PhaseComplete {
					t.Fatal("it is complete while most are yet to be looked at")
				}
				do(w)
				w.pass(30 * time.Second)
				if !w.isComplete() {
					t.Errorf("the phases were %v, want complete in the end", w.phases)
				}
			})
		})
	}
}

// TestTrigger_AnotherMeanwhile_HasAll: the report of a trigger has each server, although a scan or another trigger begins
// while servers are being inspected for it.
func TestTrigger_AnotherMeanwhile_HasAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHost()
		w.files[usual] = at(usual, newImage)
		for i := range selector.PID(3) {
			w.begin(1000+i, usual, 1)
			w.change(func() { w.processes[1000+i].Image = newImage })
		}
		w.serve(t, 0)
		w.pass(time.Minute)
		w.slowLooks(func(selector.Process) time.Duration { return 100 * time.Millisecond })
		reports := make(chan api.Report, 3)
		for range cap(reports) {
			go func() {
				report, err := w.service.Trigger(t.Context(), "", 0)
				if err != nil {
					t.Error(err)
				}
				reports <- report
			}()
			w.pass(50 * time.Millisecond)
		}
		for range cap(reports) {
			for _, s := range (<-reports).Servers {
				if s.Verdict != selector.UpToDate {
					t.Errorf("server %d is reported as %s (%s), want up-to-date", s.PID, s.Verdict, s.Detail)
				}
			}
		}
	})
}
