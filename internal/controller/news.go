// SPDX-License-Identifier: MIT

package controller

import (
	"time"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

const (
	// newsWithin is how long it is waited for how a server ended that a look found gone: /proc has it no
	// more from the moment on in which it begins to exit, which is before its event, and before its
	// pidfd says so.
	newsWithin = 2 * time.Second
	// newsRetry is the time between looks meanwhile.
	newsRetry = time.Second
)

// vanished takes a look that found a process gone, or another in its place. How one ended that was asked
// may halt the rollout: that is guessed only if nothing tells of it. It reports whether that is waited
// for.
func (s *Service) vanished(pid selector.PID, now time.Time) (waits bool) {
	m := s.member(pid)
	if m == nil || !m.State.IsPersistent() {
		s.ended(pid, selector.Exit{})
		return false
	}
	k := s.known[pid]
	if k.gone.IsZero() {
		k.gone = now
	}
	s.rolloutOf(pid).Vanished(pid)
	end := k.gone.Add(newsWithin)
	if !now.Before(end) {
		s.ended(pid, selector.Exit{})
		return false
	}
	next := now.Add(newsRetry)
	if next.After(end) {
		next = end
	}
	s.agenda.at(pid, next)
	return true
}

// ended takes the news that a process is gone.
func (s *Service) ended(pid selector.PID, exit selector.Exit) {
	s.agenda.forget(pid)
	s.lookedAt(pid)
	delete(s.over, pid)
	k := s.known[pid]
	if k == nil {
		return
	}
	now := time.Now()
	r, m := s.rolloutOf(pid), s.member(pid)
	isCurrent := m == nil || m.State == rollout.Upgraded
	if r != nil {
		r.Ended(pid, exit, now)
		s.touch(r)
	}
	if isCurrent {
		s.noteForeignDeath(k, exit, now)
	}
	delete(s.known, pid)
	if s.cfg.Quiet != nil {
		s.cfg.Quiet.Forget(pid)
	}
	s.release(k.UID)
	if k.before != nil {
		s.parted(k.before)
	}
	if k.home != nil {
		s.cfg.Installs.Ended(k.view, k.identity())
		delete(k.home.servers, pid)
		s.abandon(k.home, now)
	}
	if k.replaced { // the next owner of the number has waited for this
		s.agenda.soon(pid, now)
	}
}

// unread takes a look that could not even tell which process it was of: for want of descriptors, say.
// Nobody is asked on the strength of that, nor given up.
func (s *Service) unread(v view, now time.Time) {
	pid := v.process.PID
	waits := s.agenda.backOff(pid, now)
	r, m := s.rolloutOf(pid), s.member(pid)
	if m == nil {
		return
	}
	s.touch(r)
	r.ObserveUnreadable(m, v.decision, now)
	r.SetArming(pid, waits)
	if !waits && m.State.IsPersistent() { // what became of it must be known
		s.agenda.at(pid, now.Add(slowestLook))
	}
}
