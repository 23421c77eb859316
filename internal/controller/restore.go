// SPDX-License-Identifier: MIT

package controller

import (
	"context"
	"errors"
	"time"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// A service that starts knows from the earlier process whom that asked, and waits for none of them: those that can
// be read are found at their places by the first look at everybody. Who cannot be read yet stays in the
// rollout that he was in, without a place. Nobody without a place is asked, and what was known of him comes with
// him to the place that he is found to name, however many installs and restarts later that is.

// restore takes up what an earlier process left behind, with those servers that still live.
func (s *Service) restore(ctx context.Context) {
	if s.cfg.Saved == nil {
		return
	}
	s.number = s.cfg.Saved.Number
	for _, saved := range s.cfg.Saved.Rollouts {
		r := &attached{}
		r.Rollout = rollout.Restore(s.rolloutConfig(r), saved)
		s.rollouts[saved.Install.Image] = r
		for _, p := range s.places.fixed {
			if p.Path == saved.Install.Path && p.rollout == nil {
				p.rollout, r.at = r, []*place{p}
			}
		}
		for _, server := range saved.Members {
			s.restoreServer(ctx, r, server)
		}
	}
	s.orphansDue = time.Now().Add(s.cfg.ForgetAfter)
}

// restoreServer takes one in that may still live. What the operator named is the place of all that it was asked
// for.
func (s *Service) restoreServer(ctx context.Context, r *attached, saved rollout.MemberSnapshot) {
	m := &saved.Member
	lived := time.Now()
	id, user, err := s.cfg.Upgrader.cfg.Inspector.User(m.PID)
	switch {
	case !m.State.IsPersistent(), s.known[m.PID] != nil, errors.Is(err, selector.ErrGone), err == nil && id != m.Identity():
		return
	case err == nil:
		m.UID = user
	}
	k := &known{born: lived, Server: Server{
		PID: m.PID, StartTime: m.StartTime, UID: m.UID, Args: []string{},
		Decision: selector.Decision{Verdict: selector.UnreadableFacts, Detail: unseen, Stale: true},
	}}
	s.known[m.PID] = k
	s.perUser[m.UID]++
	if len(r.at) > 0 {
		s.bring(k, r.at[0])
	} else {
		k.before = r
	}
	r.RestoreMember(saved)
	s.agenda.soon(m.PID, lived)
	if s.follows() {
		s.followAgain(ctx, m.PID)
	}
}

// takeUp brings one whom an earlier process asked to the place that it is found to name, which has the
// rollout that it was asked in until something else is found to stand there.
func (s *Service) takeUp(k *known, home *place) {
	r := k.before
	k.before = nil
	m := r.Member(k.PID)
	if home.rollout == nil || !home.ready() && home.rollout.Number() < r.Number() {
		s.join(home, r)
	}
	switch {
	case m == nil || home.rollout == r:
	default:
		s.carryOne(r, home.rollout, m)
	}
	s.touch(home.rollout)
	s.parted(r)
}

// awaits reports whether a rollout has a member of which it is yet to be found out which place it names.
func (s *Service) awaits(r *attached) bool {
	for m := range r.Members() {
		if s.home(m.PID) == nil {
			return true
		}
	}
	return false
}

// remembered are all rollouts of which something is kept.
func (s *Service) remembered() map[*attached]bool {
	all := make(map[*attached]bool)
	for _, r := range s.rollouts {
		all[r] = true
	}
	for _, k := range s.known {
		if k.before != nil {
			all[k.before] = true
		}
	}
	return all
}

// dropOrphans forgets the rollouts of an earlier process to which no place has come.
func (s *Service) dropOrphans(now time.Time) {
	if s.orphansDue.IsZero() || s.orphansDue.After(now) {
		return
	}
	s.orphansDue = time.Time{}
	for _, r := range s.rollouts {
		s.drop(r)
	}
}

// parted notes that one has gone from a rollout of an earlier process, who may have been the last that it was kept
// for.
func (s *Service) parted(r *attached) {
	if s.orphansDue.IsZero() || s.rollouts[r.Install().Image] != r {
		s.drop(r)
	}
}

// drop forgets a rollout that has no place, once nobody in it is awaited.
func (s *Service) drop(r *attached) {
	if len(r.at) > 0 || s.awaits(r) {
		return
	}
	if image := r.Install().Image; s.rollouts[image] == r {
		delete(s.rollouts, image)
	}
	if s.cfg.Journal != nil {
		_ = s.journaled(s.cfg.Journal.Forget(r.Number()))
	}
}
