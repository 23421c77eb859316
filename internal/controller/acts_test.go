// SPDX-License-Identifier: MIT

package controller_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// operator is the user that acts in tests.
const operator = 4711

func (w *world) act(ctx context.Context, kind api.ActKind, path string, user *uint32) (api.Acted, error) {
	by := rollout.Act{UID: operator, PID: 1, At: time.Now(), Reason: "test"}
	return w.service.Act(ctx, api.Act{Kind: kind, Path: path, User: user, By: by})
}

func (w *world) pause(ctx context.Context) error {
	_, err := w.act(ctx, api.ActPause, "", nil)
	return err
}

func (w *world) resume(ctx context.Context) error {
	_, err := w.act(ctx, api.ActResume, "", nil)
	return err
}

func (w *world) mustAct(t *testing.T, kind api.ActKind, path string, user *uint32) api.Acted {
	t.Helper()
	done, err := w.act(t.Context(), kind, path, user)
	if err != nil {
		t.Fatalf("%s %s: %v", kind, path, err)
	}
	return done
}

// twoUsers have three servers each, of /a, that die of the next file.
func twoUsers(t *testing.T) *world {
	t.Helper()
	w := newHost()
	w.files["/a"] = at("/a", oldImage)
	w.limits.Canary = 1
	for pid := selector.PID(1); pid <= 3; pid++ {
		w.begin(pid, "/a", 1)
		w.begin(pid+10, "/a", 2)
	}
	w.onSignal = func(pid selector.PID) { go w.answer(*w.processes[pid], true) }
	return w
}

func (w *world) signalledOf(base selector.PID) (n int) {
	for pid := base; pid < base+10; pid++ {
		n += w.signalCount(pid)
	}
	return n
}

func (w *world) requireSignalled(t *testing.T, when string, ofFirst, ofSecond int) {
	t.Helper()
	w.pass(5 * time.Minute)
	if first, second := w.signalledOf(1), w.signalledOf(11); first != ofFirst || second != ofSecond {
		t.Fatalf("%s: %d and %d signals to the servers of the two users, want %d and %d", when, first, second, ofFirst, ofSecond)
	}
}

func TestAct_ResumeOneUser_OthersStayHalted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := twoUsers(t)
		w.serve(t, 0)
		w.pass(time.Second)
		w.land(at("/a", newImage))
		w.requireSignalled(t, "after an install", 1, 1)
		if done := w.mustAct(t, api.ActResume, "/b", nil); len(done.Rollouts) != 0 {
			t.Errorf("a resume of another install concerns the rollouts %v", done.Rollouts)
		}
		if done := w.mustAct(t, api.ActResume, "/a", new(uint32(2))); len(done.Rollouts) != 1 {
			t.Errorf("a resume of one user concerns the rollouts %v, want one", done.Rollouts)
		}
		w.requireSignalled(t, "after a resume of the second user", 1, 2)
		w.mustAct(t, api.ActResume, "", nil)
		w.requireSignalled(t, "after a resume of all", 2, 3)
	})
}

func TestAct_Abandon_SurvivesRestartAndForgetting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := twoUsers(t)
		var acts []api.Act
		w.acted = func(a api.Act) { acts = append(acts, a) }
		stop := w.serve(t, 0)
		w.pass(time.Second)
		w.land(at("/a", newImage))
		w.requireSignalled(t, "after an install", 1, 1)
		if _, err := w.act(t.Context(), api.ActAbandon, "/b", nil); !errors.Is(err, api.ErrNoRollout) {
			t.Errorf("to abandon another install: %v", err)
		}
		w.mustAct(t, api.ActAbandon, "/a", nil)
		w.mustAct(t, api.ActResume, "", nil) // changes nothing
		if len(acts) != 1 || acts[0].Kind != api.ActAbandon || acts[0].By.UID != operator {
			t.Errorf("these acts were reported: %+v, want one", acts)
		}
		stop()
		stop = w.serve(t, 0)
		w.requireSignalled(t, "after a restart", 1, 1)
		w.change(func() { clear(w.processes) })
		for _, pid := range []selector.PID{2, 3, 12, 13} {
			w.events <- selector.Event{Kind: selector.EventExit, PID: pid, Exit: quits}
		}
		w.pass(time.Hour)
		if s := w.status(t); len(s.Installs) != 0 {
			t.Fatalf("these installs are not forgotten: %+v", s.Installs)
		}
		for range 2 {
			w.begin(4, "/a", 1)
			w.events <- selector.Event{Kind: selector.EventExec, PID: 4}
			w.requireSignalled(t, "of a server that comes after all had gone", 1, 1)
			if r := w.status(t).Rollouts; len(r) != 1 || r[0].Phase != rollout.PhaseAbandoned || r[0].Abandoned[0].UID != operator {
				t.Errorf("the rollouts are %+v, want one that is abandoned", r)
			}
			stop()
			stop = w.serve(t, 0)
		}
		w.onSignal = func(pid selector.PID) { go w.answer(*w.processes[pid], false) }
		w.land(at("/a", selector.Image{Dev: 1, Ino: 99}))
		w.requireSignalled(t, "after another file", 2, 1)
	})
}

func TestAct_PauseOneUser_OthersGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := twoUsers(t)
		w.onSignal = func(pid selector.PID) { go w.answer(*w.processes[pid], false) }
		stop := w.serve(t, 0)
		w.pass(time.Second)
		w.mustAct(t, api.ActPause, "", new(uint32(1)))
		w.land(at("/a", newImage))
		w.requireSignalled(t, "while the first user is paused", 0, 3)
		stop()
		w.serve(t, 0)
		w.requireSignalled(t, "after a restart", 0, 3)
		s := w.status(t)
		if s.Paused || len(s.PausedUsers) != 1 || s.PausedUsers[0].UID != operator || s.Rollouts[0].Phase != rollout.PhasePaused {
			t.Errorf("the status is %+v, want the first user paused", s)
		}
		if done := w.mustAct(t, api.ActPause, "", new(uint32(1))); done.Paused == nil || done.Paused.UID != operator {
			t.Errorf("a second pause found %+v", done.Paused)
		}
		w.mustAct(t, api.ActResume, "", new(uint32(2)))
		w.requireSignalled(t, "after a resume of the second user", 0, 3)
		w.mustAct(t, api.ActResume, "", new(uint32(1)))
		w.requireSignalled(t, "after a resume of the first user", 3, 3)
	})
}
