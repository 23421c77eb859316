// SPDX-License-Identifier: MIT

package controller

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// lookAgain does what the agenda has for now.
func (s *Service) lookAgain(ctx context.Context) {
	now := time.Now()
	s.flush(now)
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
	if ctx.Err() == nil {
		s.surveyedAt(p)
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

// round looks at some, and plans those that are outdated into their rollouts. The report has those who were
// left as well, and those who are the same as they were.
func (s *Service) round(ctx context.Context, reason Reason, candidates, same []selector.PID) (Report, []view, []left) {
	start := time.Now()
	views, left := s.cfg.Upgrader.lookAtAll(ctx, compared{s}, candidates)
	report := s.cfg.Upgrader.report(compared{s}, withLeft(views, left))
	for _, pid := range same {
		report.Servers = append(report.Servers, s.known[pid].Server)
	}
	slices.SortFunc(report.Servers, func(a, b Server) int { return cmp.Compare(a.PID, b.PID) })
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
		if m := s.member(v.process.PID); m != nil && m.State == rollout.Pending {
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
	s.lookedAt(pid)
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
		before := r.Member(pid)
		wasCarried := before != nil && before.IsCarried()
		if k.foreign.isExeced && r.ObserveForeign(v.process, v.decision, k.foreign.sender, k.foreign.at, now) {
			k.foreign = foreignSignal{} // an operator may end the wait for it for good
		}
		r.Observe(v.process, v.decision, s.rankOf(k, r, v), now)
		m := r.Member(pid)
		if wasCarried && m == nil {
			s.disown(before)
		}
		if m != nil && m.State.IsPersistent() { // what comes next follows from its state
			if k.before == nil || !s.agenda.backOff(pid, now) {
				s.plan(m)
			}
			return
		}
	}
	if !IsServer(k.Server) && s.member(pid) == nil { // of its end nobody would tell
		s.ended(pid, selector.Exit{})
		return
	}
	s.planUnasked(r, v, now)
}

// rankOf is where a server goes in a rollout that may not have it yet.
func (s *Service) rankOf(k *known, r *attached, v view) rollout.Rank {
	isNew := r.Member(k.PID) == nil && v.decision.Verdict == selector.Outdated
	if s.cfg.Prefers != nil && isNew && r.LacksCanary(rollout.GroupOf(v.process)) && s.cfg.Prefers(v.process) {
		return rollout.RankCanary
	}
	return k.rank
}

// planUnasked plans the next look at one that was not asked. r is nil where there is no rollout.
func (s *Service) planUnasked(r *attached, v view, now time.Time) {
	pid := v.process.PID
	switch v.decision.Verdict {
	case selector.NoHandler, selector.UnreadableFacts:
		waits := s.agenda.backOff(pid, now)
		if r != nil {
			r.SetArming(pid, waits)
		}
		return
	case selector.Forked:
		s.agenda.at(pid, now.Add(selector.ForkAge-v.process.Age))
		return
	}
	if r != nil {
		r.SetArming(pid, false)
	}
	s.agenda.forget(pid)
}

// overduePoll is the time between two inspections of a server that takes too long to arm itself.
const overduePoll = 10 * time.Second

// plan plans the next inspection of a server that was signalled.
func (s *Service) plan(m *rollout.Member) {
	now := time.Now()
	next, isPolled := m.Due(s.cfg.Limits)
	switch {
	case next.IsZero():
		s.agenda.forget(m.PID)
	case m.State == rollout.TimedOut && !next.After(now): // it could not be signalled again although it was time
		s.agenda.at(m.PID, now.Add(s.cfg.Limits.RetryAfter))
	case isPolled && !next.After(now):
		s.agenda.at(m.PID, now.Add(overduePoll))
	case isPolled, m.State == rollout.Signalled && s.follows():
		s.agenda.poll(m.PID, now, next)
	default:
		s.agenda.at(m.PID, next)
	}
}

// watchQuiet has those watched that are yet to be signalled, so that it is known of an idle one when its turn comes.
func (s *Service) watchQuiet(m *rollout.Member) {
	switch {
	case s.cfg.Quiet == nil:
	case m.State == rollout.Pending:
		s.cfg.Quiet.Begin(m.Identity(), m.UID)
	default:
		s.cfg.Quiet.Forget(m.PID)
	}
}

// moved takes a change of a member's state.
func (s *Service) moved(m rollout.Member, from rollout.State) {
	_ = s.note(&m) // tried again until it is written
	s.cfg.Observer.Moved(m, from)
	s.watchQuiet(&m)
	switch m.State {
	case rollout.Signalled, rollout.TimedOut:
		s.plan(&m)
	case rollout.Settling:
		if from != rollout.Settling {
			s.agenda.forget(m.PID) // polling begins anew
		}
		s.plan(&m)
	case rollout.None, rollout.Exited, rollout.Crashed, rollout.Upgraded, rollout.GaveUp:
		s.agenda.forget(m.PID)
		s.unfollow(m.PID)
	}
}
