// SPDX-License-Identifier: MIT

package controller_test

import (
	"slices"

	"ebpf-upgrader/internal/controller"
	"ebpf-upgrader/internal/rollout"
)

// journal keeps what a service saves, for the next one over the same world.
type journal struct{ w *world }

func (j *journal) Save(s controller.Saved) error {
	j.w.mu.Lock()
	defer j.w.mu.Unlock()
	if j.w.unsaved == nil {
		j.w.saved = &s
	}
	return j.w.unsaved
}

// kept is a copy of what was saved, for changing it; a service may still read the one before.
func (w *world) kept(change func(*controller.Saved)) {
	w.change(func() {
		var saved controller.Saved
		if w.saved != nil {
			saved = *w.saved
		}
		saved.Rollouts = slices.Clone(saved.Rollouts)
		for i := range saved.Rollouts {
			saved.Rollouts[i].Members = slices.Clone(saved.Rollouts[i].Members)
		}
		change(&saved)
		w.saved = &saved
	})
}

func (j *journal) Rollout(r rollout.Snapshot) error {
	j.w.kept(func(s *controller.Saved) {
		s.Number = max(s.Number, r.Number)
		for i, old := range s.Rollouts {
			if old.Number == r.Number {
				r.Members = old.Members
				s.Rollouts[i] = r
				return
			}
		}
		s.Rollouts = append(s.Rollouts, r)
	})
	return nil
}

func (j *journal) Forget(number uint64) error {
	j.w.kept(func(s *controller.Saved) {
		s.Rollouts = slices.DeleteFunc(s.Rollouts, func(r rollout.Snapshot) bool { return r.Number == number })
	})
	return nil
}

func (j *journal) Note(server rollout.MemberSnapshot) error {
	j.w.kept(func(s *controller.Saved) {
		for i := range s.Rollouts {
			r := &s.Rollouts[i]
			r.Members = slices.DeleteFunc(r.Members, func(o rollout.MemberSnapshot) bool { return o.PID == server.PID })
			if r.Number == server.Rollout && server.State.Kept() {
				r.Members = append(r.Members, server)
			}
		}
	})
	return nil
}
