// SPDX-License-Identifier: MIT

package upgrade

import (
	"context"
	"maps"
	"slices"
	"time"

	"ebpf-upgrader/selector"
)

func (s *Service) lookAgain(ctx context.Context) {
	now := time.Now()
	if s.agenda.everybodyDue(now) {
		s.roundOverAll(ctx, ReasonRetry)
		return
	}
	due := s.agenda.due(now)
	switch {
	case len(due) == 0:
	case s.stillReady():
		s.round(ctx, ReasonServer, due)
	default:
		s.agenda.everybody(now)
	}
}

// checkEvery bounds how old the answer may be that the file is still ready. It takes a wave of
// deliveries a few looks at the file instead of one each.
const checkEvery = 10 * time.Millisecond

// stillReady reports whether what was told last still stands at the path, ready. When it does not,
// the change is told once it has settled, or the file comes back to rest as it was.
func (s *Service) stillReady() bool {
	if s.cfg.Check == nil || s.install.State != selector.StateReady {
		return s.install.State == selector.StateReady
	}
	if time.Since(s.checked) < checkEvery {
		return true
	}
	now := s.cfg.Check()
	if now.State != selector.StateReady || now.Image != s.install.Image {
		return false
	}
	s.checked = time.Now()
	return true
}

func (s *Service) auditedRound(ctx context.Context) {
	if s.cfg.Audit != nil {
		if err := s.cfg.Audit(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Observer.Trouble(err)
		}
	}
	s.roundOverAll(ctx, ReasonScan)
}

// roundOverAll looks at everybody. Nobody is looked at while nothing ready stands at the path.
func (s *Service) roundOverAll(ctx context.Context, reason Reason) Report {
	s.agenda.everybodySeen()
	if s.install.State != selector.StateReady {
		report := s.cfg.Upgrader.Survey(ctx, s.install, nil)
		s.cfg.Observer.Round(reason, report, 0)
		return report
	}
	if !s.stillReady() {
		s.agenda.everybody(time.Now())
		return Report{}
	}
	candidates, err := s.cfg.Source.Candidates(ctx)
	if err != nil {
		if ctx.Err() == nil {
			s.cfg.Observer.Trouble(err)
			s.agenda.everybody(time.Now())
		}
		return Report{}
	}
	// Those that the rollout knows are looked at whether or not they are candidates: one that has
	// ended unseen is no candidate any more.
	report := s.round(ctx, reason, slices.AppendSeq(candidates, maps.Keys(s.rollout.members)))
	if ctx.Err() != nil { // the survey may have been cut short
		return report
	}
	s.rollout.surveyed = true
	living := make(map[selector.PID]bool, len(report.Servers))
	for _, server := range report.Servers {
		living[server.PID] = server.Verdict != selector.Gone
	}
	s.agenda.keepOnly(living)
	maps.DeleteFunc(s.known, func(pid selector.PID, _ Server) bool { return !living[pid] })
	return report
}

// round looks at some, and plans those that are outdated into the rollout.
func (s *Service) round(ctx context.Context, reason Reason, candidates []selector.PID) Report {
	start := time.Now()
	report, views := s.cfg.Upgrader.survey(ctx, s.install, candidates)
	now := time.Now()
	for _, v := range views {
		s.see(v, now)
	}
	report.Plan = s.rollout.pending(views)
	s.cfg.Observer.Round(reason, report, now.Sub(start))
	return report
}

// see takes one look, and plans the next one at those that are behind for a reason that may pass
// without an event.
func (s *Service) see(v view, now time.Time) {
	pid := v.process.PID
	if v.decision.Verdict == selector.Gone {
		s.ended(pid, Exit{})
		return
	}
	s.known[pid] = newServer(v.process, v.decision)
	s.rollout.seen(v.process, v.decision, now)
	if s.rollout.wasAsked(pid) { // what comes next follows from its state
		s.plan(*s.rollout.members[pid])
		return
	}
	switch v.decision.Verdict {
	case selector.NoHandler:
		if s.agenda.backOff(pid, now) {
			s.rollout.await(pid)
		} else {
			s.rollout.awaitNoMore(pid)
		}
	case selector.Forked:
		s.agenda.at(pid, now.Add(selector.ForkAge-v.process.Age))
	default:
		s.rollout.awaitNoMore(pid)
		s.agenda.forget(pid)
	}
}

// plan plans the next look at a server that was asked.
func (s *Service) plan(m Member) {
	now, next := time.Now(), s.rollout.next(m.PID)
	if !next.IsZero() && !next.After(now) { // it could not be asked again although it was time
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

// moved is told by the rollout.
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
