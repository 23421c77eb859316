// SPDX-License-Identifier: MIT

package upgrade

import (
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
	if !s.agenda.next.IsZero() {
		wake = s.agenda.next
	}
	var m *Member
	if s.rollout != nil && !s.paused && s.install.State == selector.StateReady && s.agenda.all.IsZero() {
		var waiting bool
		m, waiting = s.rollout.turn(now)
		if check := now.Add(gateCheck); waiting && check.Before(wake) {
			wake = check
		}
	}
	return m, wake.Sub(now)
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
	if !s.stillReady() {
		s.agenda.everybody(now)
		return
	}
	intent := *m
	intent.State, intent.Since, intent.AskedAt = Notified, now, now
	s.note(intent)
	d := s.cfg.Upgrader.deliver(m.identity(), s.install)
	now = time.Now()
	r := s.rollout
	switch {
	case d.err != nil:
		r.refused(m, d.err, now)
		s.agenda.at(m.PID, now.Add(s.cfg.Limits.RetryAfter))
		s.cfg.Observer.Refused(*m, d.err)
	case d.process.StartTime != 0 && d.process.Identity != m.identity():
		s.see(d.view, now) // the next owner of the number, which was not sent anything
	case d.sent:
		m.ran = d.process.Image
		r.asked(m, now)
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

// ErrAskedByOther means that a server was not sent the signal because it has it from somebody else.
var ErrAskedByOther = errors.New("somebody else has asked it")
