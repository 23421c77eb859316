// SPDX-License-Identifier: MIT

package controller_test

import (
	"slices"

	"ebpf-upgrader/internal/rollout"
)

// journal keeps what a service saves, for the next one over the same world. What cannot be written is part of the next
// write that succeeds.
type journal struct {
	w   *world
	all rollout.Snapshots
}

func newJournal(w *world) *journal {
	j := &journal{w: w}
	if w.saved != nil {
		j.all = *w.saved
	}
	return j
}

// write changes a copy: a service may still read the one before.
func (j *journal) write(change func(*rollout.Snapshots)) error {
	j.all.Rollouts = slices.Clone(j.all.Rollouts)
	for i := range j.all.Rollouts {
		j.all.Rollouts[i].Members = slices.Clone(j.all.Rollouts[i].Members)
	}
	change(&j.all)
	j.w.mu.Lock()
	defer j.w.mu.Unlock()
	if j.w.unsaved == nil {
		saved := j.all
		j.w.saved = &saved
	}
	return j.w.unsaved
}

func (j *journal) Save(s rollout.Snapshots) error {
	return j.write(func(all *rollout.Snapshots) { *all = s })
}

func (j *journal) Flush() error { return j.write(func(*rollout.Snapshots) {}) }

func (j *journal) Rollout(r rollout.Snapshot) error {
	return j.write(func(s *rollout.Snapshots) {
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
}

func (j *journal) Forget(number uint64) error {
	return j.write(func(s *rollout.Snapshots) {
		s.Rollouts = slices.DeleteFunc(s.Rollouts, func(r rollout.Snapshot) bool { return r.Number == number })
	})
}

func (j *journal) Note(server rollout.Member) error {
	return j.write(func(s *rollout.Snapshots) {
		for i := range s.Rollouts {
			r := &s.Rollouts[i]
			r.Members = slices.DeleteFunc(r.Members, func(o rollout.Member) bool { return o.PID == server.PID })
			if r.Number == server.Rollout && server.State.IsPersistent() {
				r.Members = append(r.Members, server)
			}
		}
	})
}
