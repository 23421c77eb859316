// SPDX-License-Identifier: MIT

package controller_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"ebpf-upgrader/internal/controller"
	"ebpf-upgrader/selector"
)

// TestARoundLooksAgainAtWhoCouldNotBeRead: nobody would make it another time.
func TestARoundLooksAgainAtWhoCouldNotBeRead(t *testing.T) {
	for name, readable := range map[string]int{"at the first look": 0, "when its turn had come": 1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.files[usual] = ready(newImage)
				w.start(7, oldImage)
				w.start(8, oldImage)
				w.unread = func(looks int) bool { return looks > readable && looks < readable+5 }
				start := time.Now()
				r := w.upgrader().Round(t.Context(), controller.One{Install: ready(newImage)}, []selector.PID{7, 8})
				if took := time.Since(start); !slices.Equal(r.Sent, []selector.PID{7, 8}) || took > 300*time.Millisecond {
					t.Errorf("%v were asked after %s, want both after 300 ms", r.Sent, took)
				}
			})
		})
	}
}

func TestARoundIsNotHeldUpForLongByWhoCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.files[usual] = ready(newImage)
		for pid := range selector.PID(100) {
			w.start(pid+1, oldImage)
		}
		w.unread = func(int) bool { return true }
		start := time.Now()
		survey := func(ctx context.Context) time.Duration {
			start = time.Now()
			r := w.upgrader().Survey(ctx, controller.One{Install: ready(newImage)}, []selector.PID{1, 2, 3})
			if len(r.Servers) != 3 || r.Servers[0].Verdict != selector.UnreadableFacts {
				t.Errorf("the servers are %v", r.Servers)
			}
			return time.Since(start)
		}
		if took := survey(t.Context()); took > 700*time.Millisecond {
			t.Errorf("it took %s", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if took := survey(ctx); took > 100*time.Millisecond {
			t.Errorf("it took %s although it was to end after 100 ms", took)
		}
	})
}

// TestARoundIsNotHeldUpForLongByOneUser who has many processes that are slow to be read.
func TestARoundIsNotHeldUpForLongByOneUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.files[usual] = ready(newImage)
		w.start(7, oldImage)
		pids := []selector.PID{7}
		for pid := selector.PID(1000); pid < 3000; pid++ {
			w.begin(pid, usual, 1)
			w.change(func() { w.processes[pid].Image = newImage })
			pids = append(pids, pid)
		}
		w.slowLooks(func(p selector.Process) time.Duration {
			return time.Duration(p.Credentials.Owner) * 30 * time.Millisecond
		})
		start := time.Now()
		r := w.upgrader().Round(t.Context(), controller.One{Install: ready(newImage)}, pids)
		if took := time.Since(start); !slices.Equal(r.Sent, []selector.PID{7}) || took > 8*time.Second {
			t.Errorf("%v were asked after %s, want 7 alone, soon", r.Sent, took)
		}
		if len(r.Servers) != len(pids) || r.Behind() == 0 {
			t.Errorf("%d servers are told, and %d may be behind; want %d, and some", len(r.Servers), r.Behind(), len(pids))
		}
	})
}

// TestSelfIsAskedAfterWhoCouldNotBeReadAtOnce: nobody may be asked after self.
func TestSelfIsAskedAfterWhoCouldNotBeReadAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.files[usual] = ready(newImage)
		w.start(7, oldImage)
		w.start(8, oldImage)
		w.unreadable = func(pid selector.PID, looks int) bool { return pid == 8 && looks > 1 && looks < 4 }
		r := w.upgraderFor(7).Round(t.Context(), controller.One{Install: ready(newImage)}, []selector.PID{7, 8})
		if !slices.Equal(r.Sent, []selector.PID{8, 7}) {
			t.Errorf("asked were %v, want 8 and then 7", r.Sent)
		}
	})
}

// TestAServiceThatCouldReadNothingWhenItStartedRemembersWhomItAsked.
func TestAServiceThatCouldReadNothingWhenItStartedRemembersWhomItAsked(t *testing.T) {
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
		requireAsked(t, w, 7, 1, "before the retry time")
	})
}

// TestAFileThatIsPutBackAfterALookThatWasAheadIsTakenForWhatItIs: nothing tells of it, for it had not settled.
func TestAFileThatIsPutBackAfterALookThatWasAheadIsTakenForWhatItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHost()
		w.files["/a"] = at("/a", oldImage)
		w.begin(7, "/a", 1)
		w.serve(t, 0)
		w.pass(time.Second)
		w.change(func() { w.processes[7].Catches = false }) // so that nobody is asked for what is there for a moment
		w.change(func() { w.files["/a"] = at("/a", newImage) })
		if _, err := w.service.Trigger(t.Context(), "/a", 0); err != nil {
			t.Fatal(err)
		}
		w.change(func() { w.files["/a"] = at("/a", oldImage) })
		w.begin(8, "/a", 1)
		w.change(func() { w.processes[8].Image = selector.Image{Dev: 1, Ino: 5} })
		w.events <- controller.Event{Kind: controller.Execed, PID: 8}
		w.pass(5 * time.Second)
		requireAsked(t, w, 8, 1, "which runs another file than the one that is back")
		if s := w.status(t); s.Installs[0].Image != oldImage {
			t.Errorf("the install is %+v, want what stands there", s.Installs[0])
		}
		checks := w.checks
		w.pass(30 * time.Second)
		if w.checks != checks {
			t.Errorf("%d looks at the file were made in half a minute in which nothing happened", w.checks-checks)
		}
	})
}
