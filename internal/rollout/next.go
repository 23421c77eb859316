// SPDX-License-Identifier: MIT

package rollout

import (
	"cmp"
	"slices"
	"time"
)

// Permission is the caller's answer to whether a pending member may be signalled.
type Permission uint8

// The permissions.
const (
	// Refuse: not now. An event follows when that changes.
	Refuse Permission = iota
	// Later: not now. No event follows, so Next must be called again.
	Later
	// Unsure: it will soon be known whether the member is busy. No event follows.
	Unsure
	// Busy: not now, unless the limits for busy members are over. No event follows.
	Busy
	// Allow: now.
	Allow
)

// recheckInterval is the time until Next is called again when nothing says how long a reason to wait lasts.
const recheckInterval = 50 * time.Millisecond

// sampleInterval is that time for members with the permission Busy or Unsure. For many such members it is longer:
// samplePerMember for each, so that the cost of the samples stays small.
const (
	sampleInterval  = 25 * time.Millisecond
	samplePerMember = 250 * time.Microsecond
)

// turn is one call of [Rollout.Next].
type turn struct {
	*ledger
	now    time.Time
	allows func(*Member) Permission
}

// Next returns members that may be signalled now, at most one per user. wake is when Next must be called again without
// an event; zero: never. Next calls allows for pending members in their order.
func (r *Rollout) Next(now time.Time, allows func(*Member) Permission) (ready []*Member, wake time.Time) {
	if r.abandoned != nil {
		return nil, time.Time{}
	}
	t := turn{&r.ledger, now, allows}
	if end := t.inFlightEnd(); !end.IsZero() {
		return nil, end
	}
	isHaltedForAll := r.isHaltedForAll()
	for _, u := range r.users {
		if u.IsHalted || u.Abandoned != nil || isHaltedForAll && !u.IsAlone || r.cfg.IsPaused(u.UID) {
			continue
		}
		if sending, canaries := r.sendingFor(u); canaries > 0 || sending >= maxSending {
			continue
		}
		m, at := t.nextOf(u)
		if m != nil {
			ready = append(ready, m)
		}
		wake = earliest(wake, at)
	}
	return ready, wake
}

// HasPending reports whether any member is pending.
func (r *Rollout) HasPending() bool { return r.counts[Pending] > 0 }

// nextOf returns the member of a user that may be signalled now, or nil. wake is as in [Rollout.Next].
func (t *turn) nextOf(u *user) (m *Member, wake time.Time) {
	hasClosed := false
	for _, g := range u.groups {
		at := t.prove(g, t.now)
		if g.overdue > 0 || g.counts[Pending] == 0 {
			continue
		}
		if !g.isOpen {
			hasClosed = true
			wake = earliest(wake, at)
			continue
		}
		m, at := t.firstAllowed(g)
		if m != nil {
			return m, time.Time{}
		}
		wake = earliest(wake, at)
	}
	if sending, _ := t.sendingFor(u); !hasClosed || sending > 0 {
		return nil, wake
	}
	m, at := t.nextCanary(u)
	return m, earliest(wake, at)
}

// byUrgency sorts groups in the order of their canaries: those with the fewest members in flight go first, then the smallest.
func byUrgency(groups []*group) []*group {
	return slices.SortedStableFunc(slices.Values(groups), func(a, b *group) int {
		return cmp.Or(cmp.Compare(len(a.inFlight), len(b.inFlight)), cmp.Compare(a.counts.total(), b.counts.total()))
	})
}

// nextCanary returns the next canary of a user with a closed group, or nil.
func (t *turn) nextCanary(u *user) (m *Member, wake time.Time) {
	closed := slices.DeleteFunc(slices.Clone(u.groups), func(g *group) bool { return g.isOpen })
	for _, check := range []func(*user) (bool, time.Time){t.allowsCanary, t.allowsFirstCanary} {
		if isAllowed, at := check(u); !isAllowed {
			for _, g := range closed {
				g.resetWaits()
			}
			return nil, at
		}
	}
	closed = slices.DeleteFunc(closed, func(g *group) bool { return g.counts[Pending] == 0 || g.overdue > 0 })
	for _, g := range byUrgency(closed) {
		m, at := t.firstAllowed(g)
		if m != nil {
			return m, time.Time{}
		}
		wake = earliest(wake, at)
	}
	return nil, wake
}

// allowsCanary checks the limits for canaries of one user: [Limits.Canary] at a time, which is one as a rule. If none of
// them has exec'd after [Limits.CanaryTimeout], they are busy or dormant, and another one is allowed, up to maxCanaries.
// wake is when the result may change without an event.
func (t *turn) allowsCanary(u *user) (isAllowed bool, wake time.Time) {
	if isAwaited, at := t.awaitsProof(u); isAwaited {
		return false, at
	}
	l, canaries, most := t.cfg.Limits, t.canaries(u), maxCanaries
	if u.IsResumed && !u.IsProven {
		most = 1 // a resume may cost one server
	}
	unproven, isSettling := 0, false
	var youngest time.Time
	for _, g := range u.groups {
		if g.isOpen {
			continue
		}
		unproven += len(g.inFlight)
		for _, m := range g.inFlight {
			isSettling = isSettling || m.State == Settling || m.gone
			if youngest.Before(m.SignalledAt) {
				youngest = m.SignalledAt
			}
		}
	}
	retry := youngest.Add(l.CanaryTimeout)
	switch {
	case unproven < canaries:
		return true, time.Time{}
	case isSettling || unproven >= max(most, canaries):
		return false, time.Time{}
	case retry.After(t.now):
		return false, retry
	}
	return true, time.Time{}
}

// awaitsProof reports whether a member of an open group may soon give the user's first proof. A member that is busy or
// dormant is not waited for.
func (t *turn) awaitsProof(u *user) (isAwaited bool, wake time.Time) {
	if u.IsProven {
		return false, time.Time{}
	}
	for _, g := range u.groups {
		if !g.isOpen {
			continue
		}
		for _, m := range g.inFlight {
			switch dormant := m.SignalledAt.Add(t.cfg.Limits.CanaryTimeout); {
			case m.State == Settling || m.gone:
				isAwaited = true
			case dormant.After(t.now):
				isAwaited, wake = true, earliest(wake, dormant)
			}
		}
	}
	return isAwaited, wake
}

// allowsFirstCanary checks the limits for the first canaries of all users: maxUnprovenUsers at a time, userDelay apart.
// A user with a dead canary counts as unproven, so that a bad binary costs no more than maxUnprovenUsers canaries.
func (t *turn) allowsFirstCanary(u *user) (isAllowed bool, wake time.Time) {
	if !u.firstCanaryAt.IsZero() || u.IsAlone || t.isProvenByAny() {
		return true, time.Time{}
	}
	unproven := 0
	for _, other := range t.users {
		isTrying := other.settling > 0 || t.now.Sub(other.lastCanaryAt) < t.cfg.Limits.CanaryTimeout
		switch {
		case other == u:
		case other.IsFailed:
			unproven++
		case other.firstCanaryAt.IsZero():
			if sending, _ := t.sendingFor(other); sending > 0 {
				unproven++
				wake = earliest(wake, t.now.Add(recheckInterval))
			}
		case isTrying:
			unproven++
			if end := other.firstCanaryAt.Add(userDelay); end.After(t.now) {
				wake = earliest(wake, end)
			}
		}
	}
	if unproven >= maxUnprovenUsers {
		return false, t.now.Add(recheckInterval)
	}
	// wake is set if the first canary of another user is being signalled, or was less than userDelay ago.
	return wake.IsZero(), wake
}

// firstAllowed returns the first pending member of a group that may be signalled, or nil. wake is when that must be
// computed again without an event; zero: never.
func (t *turn) firstAllowed(g *group) (first *Member, wake time.Time) {
	t.sort(g)
	waiting := 0
	for _, m := range g.queue {
		if !t.isQueued(m, g) || t.sending[m.PID] == m || t.isSelfTooEarly(m) {
			continue
		}
		if end := m.Since.Add(t.cfg.Limits.Yield); end.After(t.now) {
			wake = earliest(wake, end)
			continue
		}
		switch permission := t.allows(m); permission {
		case Allow:
			m.Overran = false
			return m, time.Time{}
		case Busy, Unsure:
			if m.Overran = !t.waitsForQuiet(m, g, permission); m.Overran {
				return m, time.Time{}
			}
			waiting++
		case Later:
			wake = earliest(wake, t.now.Add(recheckInterval))
		}
	}
	if waiting > 0 {
		wake = earliest(wake, t.now.Add(max(sampleInterval, time.Duration(waiting)*samplePerMember)))
	}
	return nil, wake
}

// isSelfTooEarly reports whether a member is [Config.Self] while other members are still pending.
func (t *turn) isSelfTooEarly(m *Member) bool {
	if m.PID != t.cfg.Self {
		return false
	}
	pending := 0
	for _, g := range t.groups {
		if u := t.users[g.key.User]; g.overdue == 0 && !t.isHaltedFor(u) && !t.isAbandonedFor(u) && !t.cfg.IsPaused(u.UID) {
			pending += g.counts[Pending]
		}
	}
	return pending > 1
}

// inFlightEnd returns zero if [Limits.InFlight] allows another server, or else when that may change. A server that does
// not exec within [Limits.CanaryTimeout] is busy or dormant, and does not count.
func (t *turn) inFlightEnd() (end time.Time) {
	l := t.cfg.Limits
	limit := l.InFlight.of(t.counts.total())
	if limit == 0 {
		return time.Time{}
	}
	inFlight := len(t.sending)
	for _, m := range t.members {
		dormant := m.SignalledAt.Add(l.CanaryTimeout)
		if m.State == Settling || m.State == Signalled && dormant.After(t.now) {
			inFlight++
			end = earliest(end, dormant)
		}
	}
	if inFlight < limit {
		return time.Time{}
	}
	if !end.After(t.now) {
		end = t.now.Add(recheckInterval)
	}
	return end
}
