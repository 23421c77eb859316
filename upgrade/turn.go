// SPDX-License-Identifier: MIT

package upgrade

import (
	"cmp"
	"context"
	"errors"
	"time"

	"ebpf-upgrader/selector"
)

// idle is as good as for ever.
const idle = 24 * time.Hour

// next says whose turn it is, and for how long nothing is to be done if nothing happens.
func (s *Service) next(now time.Time) (*Member, time.Duration) {
	wake := now.Add(idle)
	for _, at := range []time.Time{s.agenda.next, s.places.next, s.losses.next, s.orphansDue} {
		if !at.IsZero() && at.Before(wake) {
			wake = at
		}
	}
	if s.paused || !s.agenda.all.IsZero() {
		return nil, wake.Sub(now)
	}
	m, waiting := s.turn(now)
	if check := now.Add(gateCheck); waiting && check.Before(wake) {
		wake = check
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

func (l *served) take(m *Member) {
	l.rollout = m.Rollout
	l.turn++
	l.users[m.UID] = l.turn
}

// before reports whether it is a's turn before b's: that of the user whose last one is longer ago, or of the
// rollout with the next number after the one that had the last.
func (l *served) before(a, b *Member) bool {
	users := cmp.Compare(l.users[a.UID], l.users[b.UID])
	return cmp.Or(users, cmp.Compare(a.Rollout-l.rollout-1, b.Rollout-l.rollout-1)) < 0
}

// turn is the server that may be asked now. The users take turns, and each user's rollouts: the next one
// after that which had the last is the one with the next higher number.
func (s *Service) turn(now time.Time) (first *Member, waiting bool) {
	rests := func(m *Member) bool { return s.alone.has(s.known[m.PID], now) || !s.acts.rest(m.UID, now).IsZero() }
	for _, r := range s.rollouts {
		if len(r.gate.queue) == 0 {
			continue
		}
		m, waits := r.turn(now, rests)
		waiting = waiting || waits
		if m != nil && (first == nil || s.served.before(m, first)) {
			first = m
		}
	}
	return first, waiting
}

var always = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// ready is a channel that can be received from if there is somebody whose turn it is.
func ready(m *Member) <-chan struct{} {
	if m == nil {
		return nil
	}
	return always
}

// ask makes one delivery. What is about to be done is written down first: if this process dies in
// between, nobody is asked twice.
func (s *Service) ask(ctx context.Context, m *Member) {
	now := time.Now()
	s.served.take(m)
	if !s.stillReady(m.home) {
		s.lookLater(m.home, now)
		return
	}
	if s.canaryVanished(m) {
		return
	}
	intent := *m
	intent.State, intent.Since, intent.AskedAt = Notified, now, now
	s.note(intent)
	start := time.Now()
	d := s.cfg.Upgrader.deliver(m.identity(), atHome{compared{s}, m.home})
	s.acted(m.UID, start)
	now = time.Now()
	r := s.rolloutOf(m.PID)
	s.touch(r)
	switch {
	case d.err != nil:
		r.refused(m, d.err, now)
		s.agenda.at(m.PID, now.Add(s.cfg.Limits.RetryAfter))
		s.cfg.Observer.Refused(*m, d.err)
	case d.process.StartTime != 0 && d.process.Identity != m.identity():
		s.see(d.view, now) // the next owner of the number, which was not sent anything
	case d.sent:
		m.ran = d.process.Image
		r.asked(m, d.before, now)
		s.follow(ctx, &d)
	case !d.byOther.IsZero():
		m.ran = d.process.Image
		r.askedByOther(m, d.byOther, now)
		s.cfg.Observer.Refused(*m, ErrAskedByOther)
	default:
		s.see(d.view, now)
	}
	d.release()
}

// canaryVanished looks at the canaries that are to be waited for no longer, before another is asked in their place:
// one may have died of the binary, and its event be lost. It reports whether one is gone, and how is yet to be told.
func (s *Service) canaryVanished(m *Member) bool {
	r := s.rolloutOf(m.PID)
	if r == nil || r.gate.open {
		return false
	}
	for _, pid := range r.canaries() {
		v := s.cfg.Upgrader.lookAt(pid, compared{s})
		if v.decision.Verdict == selector.Gone || v.process.StartTime != 0 && v.process.Identity != r.members[pid].identity() {
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
