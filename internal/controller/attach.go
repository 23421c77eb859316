// SPDX-License-Identifier: MIT

package controller

import (
	"context"
	"slices"
	"time"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// installed takes the news of what stands at a place.
func (s *Service) installed(ctx context.Context, found Found) {
	p := s.places.all[found.Place]
	if p == nil { // given up meanwhile
		return
	}
	known := p.ahead && found.Install.SameFile(p.install) && found.Install.State == p.install.State
	p.install, p.ahead = found.Install, false
	if known {
		return
	}
	now := time.Now()
	s.attach(p, now)
	p.left = nil
	if end := s.restOf(p, s.looks, now); !end.IsZero() {
		s.places.lookAgain(p, end)
		return
	}
	s.lookAtPlace(ctx, p, ReasonInstall)
}

// lookAheadAt does not wait until it is told what stands at a path; an empty one is all that the operator
// named. It is told of those that it does not come to.
func (s *Service) lookAheadAt(path string) {
	start := time.Now()
	for at, p := range s.places.all {
		now := time.Now()
		if now.Sub(start) > aheadWithin {
			return
		}
		if (path == at.Path || path == "" && len(s.places.fixed) > 0) && s.restOf(p, s.acts, now).IsZero() {
			s.lookAhead(p)
		}
	}
}

// lookAhead does not wait until it is told what stands at a place.
func (s *Service) lookAhead(p *place) {
	found := s.check(p)
	if found.State == selector.StateReady && !found.SameFile(p.install) {
		now := time.Now()
		p.install, p.ahead, p.doubt = found, true, selector.Install{}
		s.attach(p, now)
		s.places.lookBehind(p, now.Add(candidatesRetry))
	}
}

// lookBehind looks again at a place where a look was ahead of what is told. What is put back before it has
// settled is told by nobody: it counts when it stands there, ready, for two looks.
func (s *Service) lookBehind(p *place, now time.Time) {
	if end := s.restOf(p, s.acts, now); !end.IsZero() {
		s.places.lookBehind(p, end)
		return
	}
	found, before := s.check(p), p.doubt
	p.doubt = found
	if found.State != selector.StateReady || found.SameFile(p.install) || !found.SameFile(before) {
		s.places.lookBehind(p, now.Add(candidatesRetry))
		return
	}
	p.install, p.ahead = found, false
	s.attach(p, now)
	s.places.lookAgain(p, now)
}

// attached is a rollout with the places that lead to its file.
type attached struct {
	*rollout.Rollout
	at []*place
	// told is the phase that the observer knows.
	told rollout.Phase
}

// attach brings a place to the rollout of what stands there, if that can be exec'd. A rollout belongs
// to an installed file, whatever places lead to it.
func (s *Service) attach(p *place, now time.Time) {
	p.checked, p.told = time.Time{}, now
	if !p.ready() {
		if p.rollout != nil {
			s.touch(p.rollout)
		}
		return
	}
	to := s.rollouts[p.install.Image]
	if to == nil || !p.install.SameFile(to.Install()) { // an inode number may be used again
		to = s.begin(p.install, now)
	}
	s.touch(to)
	if p.rollout != to {
		s.join(p, to)
		s.countEarlyDeaths(p, now)
	}
}

// join brings a place from the rollout that it had, if any, to another.
func (s *Service) join(p *place, to *attached) {
	from := p.rollout
	to.at = append(to.at, p)
	p.rollout = to
	s.keep(to)
	if from != nil {
		s.carry(p, from, to)
		s.left(from, p)
	}
}

// begin begins a rollout.
func (s *Service) begin(install selector.Install, now time.Time) *attached {
	s.number++
	r := &attached{}
	r.Rollout = rollout.New(s.rolloutConfig(r), s.number, install, now)
	s.rollouts[install.Image] = r
	return r
}

// rolloutConfig is what a rollout of this service works with.
func (s *Service) rolloutConfig(r *attached) rollout.Config {
	return rollout.Config{
		Limits: s.cfg.Limits, Signal: s.cfg.Upgrader.cfg.Signal, SeesExec: s.cfg.Events != nil, Self: s.cfg.Upgrader.cfg.Self,
		Moved: func(m rollout.Member, from rollout.State) {
			if m.State == rollout.Crashed || m.State == rollout.Upgraded { // first: what follows from it for others
				s.keep(r)
			}
			s.moved(m, from)
		},
	}
}

// carry takes over those who name a place whose file was replaced.
func (s *Service) carry(p *place, from, to *attached) {
	for m := range from.Members() {
		if s.home(m.PID) == p {
			s.carryOne(from, to, m)
		}
	}
}

func (s *Service) carryOne(from, to *attached, m *rollout.Member) {
	s.known[m.PID].rank = m.NextRank()
	if to.Carry(from.Rollout, m) {
		s.plan(m)
		_ = s.note(m) // tried again until it is written
	} else {
		s.disown(m)
	}
}

// disown forgets what was kept of a server that is in no rollout any more.
func (s *Service) disown(m *rollout.Member) {
	kept := *m
	kept.State = rollout.None
	_ = s.note(&kept) // tried again until it is written
	s.agenda.forget(m.PID)
	s.unfollow(m.PID)
}

// detach takes a place from its rollout.
func (s *Service) detach(p *place) {
	r := p.rollout
	if r == nil {
		return
	}
	p.rollout = nil
	for m := range r.Members() {
		if s.home(m.PID) == p {
			r.Drop(m)
			s.disown(m)
		}
	}
	s.left(r, p)
}

// rolloutsKept is how many rollouts that are over are remembered.
const rolloutsKept = 64

// left ends a rollout when the last place has left it.
func (s *Service) left(r *attached, p *place) {
	r.at = slices.DeleteFunc(r.at, func(other *place) bool { return other == p })
	if len(r.at) > 0 {
		s.touch(r)
		return
	}
	if image := r.Install().Image; s.rollouts[image] == r {
		delete(s.rollouts, image)
	}
	delete(s.touched, r)
	over := s.report(r)
	over.Superseded = true
	s.history = append(s.history, over)
	s.history = s.history[max(0, len(s.history)-rolloutsKept):]
	s.cfg.Observer.Rollout(over)
	s.drop(r)
}

// touch notes that a rollout may have come into another phase, or somebody's turn.
func (s *Service) touch(r *attached) { s.touched[r] = true }

// tell tells the observer which rollouts have come into another phase.
func (s *Service) tell() {
	for r := range s.touched {
		delete(s.touched, r)
		if len(r.at) == 0 {
			continue
		}
		if now := s.report(r); now.Phase != r.told {
			r.told = now.Phase
			s.keep(r)
			s.cfg.Observer.Rollout(now)
		}
	}
}

// report says how far a rollout has come. It is idle while nothing can be exec'd at any of its places.
func (s *Service) report(r *attached) rollout.Report {
	r.HasDeferred = s.postpones(r)
	report := r.Report(s.paused)
	if len(r.at) > 0 && !slices.ContainsFunc(r.at, (*place).ready) {
		report.Phase = rollout.PhaseIdle
	}
	return report
}
