// SPDX-License-Identifier: MIT

package controller

import (
	"cmp"
	"context"
	"errors"
	"time"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// idle is as good as for ever.
const idle = 24 * time.Hour

// next says whose turn it is, and for how long nothing is to be done if nothing happens.
func (s *Service) next(now time.Time) (*rollout.Member, time.Duration) {
	wake := now.Add(idle)
	for _, at := range []time.Time{s.agenda.next, s.places.next, s.losses.next, s.orphansDue, s.flushAt} {
		if !at.IsZero() && at.Before(wake) {
			wake = at
		}
	}
	if s.paused || s.journalErr != nil {
		for _, r := range s.rollouts {
			r.StopWaiting()
		}
		return nil, wake.Sub(now)
	}
	if !s.agenda.all.IsZero() {
		return nil, wake.Sub(now)
	}
	m, at := s.turn(now)
	if !at.IsZero() && at.Before(wake) {
		wake = at
	}
	return m, wake.Sub(now)
}

// served says who had a turn last.
type served struct {
	// rollout is the number of the last one that had, and turn how many there were.
	rollout, turn uint64
	// users says which turn was the last of each.
	users map[uint32]uint64
}

func (l *served) take(m *rollout.Member) {
	l.rollout = m.Rollout
	l.turn++
	l.users[m.UID] = l.turn
}

// before reports whether it is a's turn before b's: that of the user whose last one is longer ago, or of the
// rollout with the next number after the one that had the last.
func (l *served) before(a, b *rollout.Member) bool {
	users := cmp.Compare(l.users[a.UID], l.users[b.UID])
	return cmp.Or(users, cmp.Compare(a.Rollout-l.rollout-1, b.Rollout-l.rollout-1), cmp.Compare(a.PID, b.PID)) < 0
}

// turn is the server that may be signalled now. The users take turns, and each user's rollouts: the next one
// after that which had the last is the one with the next higher number. wake is when there may be another although nothing
// happens.
func (s *Service) turn(now time.Time) (first *rollout.Member, wake time.Time) {
	for _, r := range s.rollouts {
		if !r.HasPending() {
			continue
		}
		ready, at := r.Next(now, func(m *rollout.Member) rollout.Permission { return s.permission(m, now) })
		for _, m := range ready {
			if first == nil || s.served.before(m, first) {
				first = m
			}
		}
		if wake.IsZero() || !at.IsZero() && at.Before(wake) {
			wake = at
		}
	}
	return first, wake
}

// execGrace is for how long a server is left alone that was seen inside an exec. A thread whose exec waits for others shows
// in /proc; once it goes on it shows as running, and a signal then would meet the new image without a handler.
const execGrace = 2 * time.Second

// permission says whether a pending member may be signalled, as far as its place and its user are concerned.
func (s *Service) permission(m *rollout.Member, now time.Time) rollout.Permission {
	switch {
	case !s.home(m.PID).asks():
		return rollout.Refuse
	case !s.acts.rest(m.UID, now).IsZero(), now.Sub(s.known[m.PID].inExecAt) < execGrace:
		return rollout.Later
	case s.cfg.Quiet == nil:
		return rollout.Allow
	}
	switch s.cfg.Quiet.Judge(m.Identity(), m.UID) {
	case selector.IdleYes:
		return rollout.Allow
	case selector.IdleNo:
		return rollout.Busy
	}
	return rollout.Unsure
}

var always = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// ready is a channel that can be received from if there is somebody whose turn it is.
func ready(m *rollout.Member) <-chan struct{} {
	if m == nil {
		return nil
	}
	return always
}

// ask makes one delivery. What is about to be done is written down first: if this process dies in
// between, no server is signalled twice.
func (s *Service) ask(ctx context.Context, m *rollout.Member) {
	now, home := time.Now(), s.home(m.PID)
	s.served.take(m)
	if !s.stillReady(home) {
		s.lookLater(home, now)
		return
	}
	if s.canaryVanished(m) {
		return
	}
	if err := s.noteIntent(m, now); err != nil {
		s.cfg.Observer.Refused(*m, err)
		return
	}
	start := time.Now()
	d := s.cfg.Upgrader.deliver(m.Identity(), atHome{compared{s}, home})
	s.acted(m.UID, start)
	now = time.Now()
	r := s.rolloutOf(m.PID)
	s.touch(r)
	switch {
	case d.err != nil:
		r.Refused(m, d.err, now)
		s.agenda.at(m.PID, s.retryAt(home, d.err, now))
		s.cfg.Observer.Refused(*m, d.err)
	case d.process.StartTime != 0 && d.process.Identity != m.Identity():
		s.see(d.view, now) // the next owner of the number, which was not sent anything
	case d.sent:
		r.Sent(m, d.process.Image, d.before, now)
		s.follow(ctx, &d)
	case !d.byOther.IsZero():
		s.see(d.view, now)
		r.SentByOther(m, 0, d.byOther, now)
		s.cfg.Observer.Refused(*m, ErrAskedByOther)
	default:
		s.see(d.view, now)
	}
	d.release()
}

// retryAt is when a server is inspected again that was refused the signal.
func (s *Service) retryAt(home *place, err error, now time.Time) time.Time {
	if !errors.Is(err, ErrUnseen) {
		return now.Add(s.cfg.Limits.RetryAfter)
	}
	at := home.told.Add(othersAct)
	if soon := now.Add(firstLook); at.Before(soon) {
		return soon
	}
	return at
}

// canaryVanished inspects the canaries that are to be waited for no longer, before another goes in their place:
// one may have died of the binary, and its event be lost. It reports whether one is gone, and how is yet to be told.
func (s *Service) canaryVanished(m *rollout.Member) bool {
	r := s.rolloutOf(m.PID)
	if r == nil {
		return false
	}
	for _, pid := range r.UnprovenCanaries(m) {
		v := s.cfg.Upgrader.lookAt(pid, compared{s})
		if v.decision.Verdict == selector.Gone || v.process.StartTime != 0 && v.process.Identity != r.Member(pid).Identity() {
			s.see(v, time.Now())
			return true
		}
	}
	return false
}

// ErrAskedByOther means that a server was not sent the signal because it has it from somebody else.
var ErrAskedByOther = errors.New("somebody else has asked it")

// checkEvery bounds how old the answer may be that the file is still ready. It takes a wave of
// deliveries a few looks at the file instead of one each.
const checkEvery = 10 * time.Millisecond

// stillReady reports whether what was told last still stands at the place, ready. When it does not,
// the change is told once it has settled, or the file comes back to rest as it was.
func (s *Service) stillReady(p *place) bool {
	if !p.ready() {
		return false
	}
	if time.Since(p.checked) < checkEvery {
		return true
	}
	now := s.check(p)
	if now.State != p.install.State || now.Image != p.install.Image {
		return false
	}
	p.checked = time.Now()
	return true
}

// lookLater plans a look at everybody who names a place; nobody of them is asked before.
func (s *Service) lookLater(p *place, now time.Time) {
	s.places.lookAgain(p, now.Add(candidatesRetry))
}
