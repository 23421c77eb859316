// SPDX-License-Identifier: MIT

package upgrade

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"ebpf-upgrader/selector"
)

// lookAgain does what the agenda has for now.
func (s *Service) lookAgain(ctx context.Context) {
	now := time.Now()
	switch {
	case s.agenda.everybodyDue(now):
		s.roundOverAll(ctx, ReasonRetry)
		return
	case s.losses.due(now):
		s.roundAfterLoss(ctx)
		return
	}
	s.dropOrphans(now)
	again, ahead, forgotten := s.places.due(now, s.cfg.ForgetAfter)
	for _, p := range forgotten {
		s.forget(p)
	}
	for _, p := range ahead {
		s.lookBehind(p, now)
	}
	for _, p := range again {
		s.lookAtPlaceAgain(ctx, p, now)
	}
	s.lookAtDue(ctx, now)
}

// auditedRound also says how long it took.
func (s *Service) auditedRound(ctx context.Context) time.Duration {
	start := time.Now()
	if s.cfg.Audit != nil {
		if err := s.cfg.Audit(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Observer.Trouble(err)
		}
	}
	s.roundOverAll(ctx, ReasonScan)
	return time.Since(start)
}

// lookAtPlace looks at those who name a place. Where the operator named it that may be anybody.
func (s *Service) lookAtPlace(ctx context.Context, p *place, reason Reason) {
	if len(s.places.fixed) > 0 {
		p.again = time.Time{}
		s.roundOverAll(ctx, reason)
		return
	}
	users := make(map[selector.PID]uint32)
	for pid := range p.servers {
		if p.left == nil || p.left[pid] {
			users[pid] = p.Owner
		}
	}
	looked, b := s.lookAtSome(ctx, reason, users)
	s.pay(b)
	maps.DeleteFunc(users, func(pid selector.PID, _ uint32) bool { return looked[pid] })
	if len(users) > 0 {
		p.left = make(map[selector.PID]bool, len(users))
		for pid := range users {
			p.left[pid] = true
		}
		s.places.lookAgain(p, cmp.Or(s.restOf(p, s.looks, time.Now()), time.Now()))
		return
	}
	p.again, p.left = time.Time{}, nil
	if ctx.Err() == nil && p.rollout != nil {
		p.rollout.surveyed = true
	}
}

// lookAtPlaceAgain does so when its user may be looked at, and not more than a slice of time has passed since
// start.
func (s *Service) lookAtPlaceAgain(ctx context.Context, p *place, start time.Time) {
	now := time.Now()
	switch end := s.restOf(p, s.looks, now); {
	case !end.IsZero():
		s.places.lookAgain(p, end)
	case now.Sub(start) > slice:
		s.places.lookAgain(p, now)
	default:
		s.lookAtPlace(ctx, p, ReasonRetry)
	}
}

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
	report, _, left := s.round(ctx, reason, slices.AppendSeq(candidates, s.members()))
	if ctx.Err() != nil { // the survey may have been cut short
		return report
	}
	s.surveyed(report, left)
	return report
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
		for _, r := range s.rollouts {
			for pid := range r.members {
				if !yield(pid) {
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
	s.lookAtLeft(left)
	for _, p := range s.places.all {
		if p.rollout != nil && p.left == nil {
			p.rollout.surveyed = true
			s.touch(p.rollout)
		}
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
			continue
		}
		if home.left == nil {
			home.left = make(map[selector.PID]bool)
		}
		home.left[l.PID] = true
		s.places.lookAgain(home, now)
	}
}

// round looks at some, and plans those that are outdated into their rollouts. The report has those who were
// left as well.
func (s *Service) round(ctx context.Context, reason Reason, candidates []selector.PID) (Report, []view, []left) {
	start := time.Now()
	views, left := s.cfg.Upgrader.lookAtAll(ctx, compared{s}, candidates)
	report := s.cfg.Upgrader.report(compared{s}, withLeft(views, left))
	for _, l := range left {
		if k := s.known[l.PID]; k != nil && k.identity() == l.Identity {
			server := report.server(l.PID)
			decision := server.Decision
			*server = k.Server
			server.Decision = decision
		}
	}
	now := time.Now()
	due := []selector.PID{}
	for _, v := range views {
		s.see(v, now)
		if m := s.member(v.process.PID); m != nil && m.State == Pending {
			due = append(due, m.PID)
		}
	}
	report.Plan = selector.Plan(s.cfg.Upgrader.cfg.Self, due)
	s.cfg.Observer.Round(reason, report, now.Sub(start))
	return report, views, left
}

// see takes one look, and plans the next one at those that are behind for a reason that may pass
// without an event.
func (s *Service) see(v view, now time.Time) {
	pid := v.process.PID
	switch {
	case v.decision.Verdict == selector.Gone:
		s.vanished(pid, now)
		return
	case v.process.StartTime == 0:
		s.unread(v, now)
		return
	case s.taken(v.process) && s.vanished(pid, now):
		s.known[pid].replaced = true
		return
	}
	delete(s.over, pid)
	k := s.meet(v, now)
	r := s.rolloutOf(pid)
	if r != nil {
		s.touch(r)
		before := r.members[pid]
		r.seen(v.process, v.decision, k.home, now)
		if before != nil && before.carried && r.members[pid] == nil {
			s.disown(before)
		}
		if r.wasAsked(pid) { // what comes next follows from its state
			s.plan(*r.members[pid])
			return
		}
	}
	if !IsServer(k.Server) && s.member(pid) == nil { // of its end nobody would tell
		s.ended(pid, Exit{})
		return
	}
	s.planUnasked(r, v, now)
}

// planUnasked plans the next look at one that was not asked. r is nil where there is no rollout.
func (s *Service) planUnasked(r *rollout, v view, now time.Time) {
	pid := v.process.PID
	switch v.decision.Verdict {
	case selector.NoHandler, selector.UnreadableFacts:
		waits := s.agenda.backOff(pid, now)
		if r != nil {
			r.await(pid, waits)
		}
		return
	case selector.Forked:
		s.agenda.at(pid, now.Add(selector.ForkAge-v.process.Age))
		return
	}
	if r != nil {
		r.await(pid, false)
	}
	s.agenda.forget(pid)
}

// plan plans the next look at a server that was asked.
func (s *Service) plan(m Member) {
	now, next := time.Now(), m.next(s.cfg.Limits)
	if m.State == Stayed && !next.After(now) { // it could not be asked again although it was time
		next = now.Add(s.cfg.Limits.RetryAfter)
	}
	switch {
	case next.IsZero():
		s.agenda.forget(m.PID)
	case m.State == Notified && s.follows():
		s.agenda.poll(m.PID, now, next)
	default:
		s.agenda.at(m.PID, next)
	}
}

// moved is told by the rollouts.
func (s *Service) moved(m Member, from State) {
	s.note(m)
	s.cfg.Observer.Moved(m, from)
	switch m.State {
	case Notified, Holding, Stayed:
		s.plan(m)
	case None, Left, Died, Upgraded, Staying:
		s.agenda.forget(m.PID)
		s.unfollow(m.PID)
	}
}
