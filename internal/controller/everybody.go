// SPDX-License-Identifier: MIT

package controller

import (
	"context"
	"errors"
	"slices"
	"time"

	"ebpf-upgrader/selector"
)

// roundOverAll looks at everybody. Nobody is looked at while nothing ready stands at any of the places
// that the operator named.
func (s *Service) roundOverAll(ctx context.Context, reason Reason) Report {
	s.agenda.everybodySeen()
	s.losses.next = time.Time{}
	if len(s.places.fixed) > 0 && !slices.ContainsFunc(s.places.fixed, (*place).ready) {
		report := s.cfg.Upgrader.Survey(ctx, compared{s}, nil)
		s.cfg.Observer.Round(reason, report, 0)
		return report
	}
	candidates, err := s.cfg.Source.Candidates(ctx)
	if err != nil {
		if ctx.Err() == nil {
			s.cfg.Observer.Trouble(err)
			s.agenda.everybody(time.Now())
		}
		return Report{}
	}
	clear(s.over)
	s.bury(candidates)
	candidates = s.bounded(ctx, candidates)
	// Those that are known are looked at whether or not they are candidates: one that has ended unseen
	// is no candidate any more.
	same, others := s.sinceLastScan(reason, slices.AppendSeq(candidates, s.members()))
	report, _, left := s.round(ctx, reason, others, same)
	if ctx.Err() != nil { // the survey may have been cut short
		return report
	}
	s.surveyed(report, left)
	return report
}

// thorough is which of the regular looks leaves out nobody.
const thorough = 10

// sinceLastScan tells those apart of whom a regular look would find what the last one did. It is the net under the
// events of the kernel and of the installs; whatever else may have changed of a server that has neither exec'd nor sees
// other files is found by the thorough ones.
func (s *Service) sinceLastScan(reason Reason, pids []selector.PID) (same, others []selector.PID) {
	if reason != ReasonScan {
		return nil, pids
	}
	if s.scans++; s.scans%thorough == 0 {
		return nil, pids
	}
	for _, pid := range selector.Plan(0, pids) {
		if k := s.known[pid]; k != nil && s.isSame(k) {
			same = append(same, pid)
		} else {
			others = append(others, pid)
		}
	}
	return same, others
}

// isSame reports whether one was up to date, and neither has exec'd since nor is to be looked at for what stands at
// his place.
func (s *Service) isSame(k *known) bool {
	seen := selector.Process{Identity: k.identity(), Layout: k.layout, View: k.view}
	return k.Verdict == selector.UpToDate && k.home.asks() && s.cfg.Upgrader.cfg.Inspector.Unchanged(seen)
}

// bury gives up those that have ended and are no candidates any more, so that they take no room.
func (s *Service) bury(candidates []selector.PID) {
	listed := make(map[selector.PID]bool, len(candidates))
	for _, pid := range candidates {
		listed[pid] = true
	}
	now := time.Now()
	for pid, k := range s.known {
		if listed[pid] {
			continue
		}
		id, _, err := s.cfg.Upgrader.cfg.Inspector.User(pid)
		if errors.Is(err, selector.ErrGone) || err == nil && id != k.identity() {
			s.vanished(pid, now)
		}
	}
}

// members are the PIDs of all that take part in a rollout.
func (s *Service) members() func(yield func(selector.PID) bool) {
	return func(yield func(selector.PID) bool) {
		for r := range s.remembered() {
			for m := range r.Members() {
				if !yield(m.PID) {
					return
				}
			}
		}
	}
}

// surveyed notes that everybody was looked at but who was left: who is not in the report has ended.
func (s *Service) surveyed(report Report, left []left) {
	now, living := time.Now(), make(map[selector.PID]bool, len(report.Servers))
	for _, server := range report.Servers {
		living[server.PID] = server.Verdict != selector.Gone
	}
	for pid := range s.known {
		if !living[pid] {
			living[pid] = s.vanished(pid, now)
		}
	}
	s.agenda.keepOnly(living)
	for _, p := range s.places.all {
		p.again, p.left = time.Time{}, nil
	}
	clear(s.postponed)
	s.lookAtLeft(left)
	for _, p := range s.places.all {
		s.surveyedAt(p)
	}
}

// surveyedAt notes that everybody who names a place was looked at, unless some of them were left.
func (s *Service) surveyedAt(p *place) {
	if p.rollout != nil && p.left == nil {
		p.rollout.IsResynced = true
		s.touch(p.rollout)
	}
}

// lookAtLeft has those who were left looked at as it is their user's turn, and all of a place before anybody there
// is asked.
func (s *Service) lookAtLeft(left []left) {
	now := time.Now()
	for _, l := range left {
		home := s.home(l.PID)
		if home == nil || len(s.places.fixed) > 0 {
			s.agenda.again([]selector.PID{l.PID}, now)
			s.postpone(l)
			continue
		}
		if home.left == nil {
			home.left = make(map[selector.PID]bool)
		}
		home.left[l.PID] = true
		s.places.lookAgain(home, now)
	}
}

// postpone notes that one was left who may belong anywhere.
func (s *Service) postpone(l left) {
	if s.postponed[l.user] == nil {
		s.postponed[l.user] = make(map[selector.PID]bool)
	}
	s.postponed[l.user][l.PID] = true
}

// lookedAt notes that one was looked at who may have been left before, or that he is not to be any more. With the last
// of a user's, what was waited for may be complete.
func (s *Service) lookedAt(pid selector.PID) {
	for user, pids := range s.postponed {
		if !pids[pid] {
			continue
		}
		if delete(pids, pid); len(pids) == 0 {
			delete(s.postponed, user)
			s.touchAll()
		}
	}
}

func (s *Service) touchAll() {
	for _, r := range s.rollouts {
		s.touch(r)
	}
}

// postpones reports whether somebody is yet to be looked at who may belong to a rollout: anybody where the operator
// named its place, or one of those for whom it is watched.
func (s *Service) postpones(r *attached) bool {
	if len(s.places.fixed) > 0 {
		return len(s.postponed) > 0
	}
	return slices.ContainsFunc(r.at, func(p *place) bool { return len(s.postponed[p.Owner]) > 0 })
}
