// SPDX-License-Identifier: MIT

package rollout

import (
	"cmp"
	"slices"
	"time"

	"ebpf-upgrader/selector"
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

// Next returns members that may be signalled now, at most one per user. wake is when Next must be called again without
// an event; zero: never. Next calls allows for pending members in their order.
func (r *Rollout) Next(now time.Time, allows func(*Member) Permission) (ready []*Member, wake time.Time) {
	if r.isHaltedForAll() {
		return nil, time.Time{}
	}
	if end := r.inFlightEnd(now); !end.IsZero() {
		return nil, end
	}
	for _, u := range r.users {
		if u.isHalted || r.isSendingFor(u) {
			continue
		}
		m, at := r.nextOf(u, now, allows)
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
func (r *Rollout) nextOf(u *user, now time.Time, allows func(*Member) Permission) (m *Member, wake time.Time) {
	hasClosed := false
	for _, g := range u.groups {
		at := r.prove(g, now)
		if g.overdue > 0 || g.pending == 0 {
			continue
		}
		if !g.isOpen {
			hasClosed = true
			wake = earliest(wake, at)
			continue
		}
		m, at := r.firstAllowed(g, now, allows)
		if m != nil {
			return m, time.Time{}
		}
		wake = earliest(wake, at)
	}
	if !hasClosed {
		return nil, wake
	}
	m, at := r.nextCanary(u, now, allows)
	return m, earliest(wake, at)
}

// prove opens a group once enough of its canaries have been armed for [Limits.GroupHold]. next is when the next canary
// will have been; zero: none is armed.
func (r *Rollout) prove(g *group, now time.Time) (next time.Time) {
	l := r.cfg.Limits
	if l.Canary == 0 {
		g.isOpen = true
	}
	if g.isOpen {
		return time.Time{}
	}
	proofs := g.proofs
	for _, m := range g.inFlight {
		switch end := m.ArmedAt.Add(l.GroupHold); {
		case r.isProof(m, now):
			proofs++
		case !m.ArmedAt.IsZero() && !m.gone:
			next = earliest(next, end)
		}
	}
	if g.isOpen = proofs >= l.Canary; g.isOpen {
		g.resetWaits()
	}
	return next
}

// isProof reports whether a member has been armed for [Limits.GroupHold].
func (r *Rollout) isProof(m *Member, now time.Time) bool {
	return m.State == Settling && !m.ArmedAt.IsZero() && !m.gone && now.Sub(m.ArmedAt) >= r.cfg.Limits.GroupHold
}

// nextCanary returns the next canary of a user with a closed group, or nil. Groups with the fewest members in flight go
// first, then the smallest.
func (r *Rollout) nextCanary(u *user, now time.Time, allows func(*Member) Permission) (m *Member, wake time.Time) {
	for _, check := range []func(*user, time.Time) (bool, time.Time){r.allowsCanary, r.allowsFirstCanary} {
		if isAllowed, at := check(u, now); !isAllowed {
			u.resetWaits()
			return nil, at
		}
	}
	closed := slices.DeleteFunc(slices.Clone(u.groups), func(g *group) bool {
		return g.isOpen || g.pending == 0 || g.overdue > 0
	})
	slices.SortStableFunc(closed, func(a, b *group) int {
		return cmp.Or(cmp.Compare(len(a.inFlight), len(b.inFlight)), cmp.Compare(a.members, b.members))
	})
	for _, g := range closed {
		m, at := r.firstAllowed(g, now, allows)
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
func (r *Rollout) allowsCanary(u *user, now time.Time) (isAllowed bool, wake time.Time) {
	if isAwaited, at := r.awaitsProof(u, now); isAwaited {
		return false, at
	}
	l := r.cfg.Limits
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
	case unproven < l.Canary:
		return true, time.Time{}
	case isSettling || unproven >= max(maxCanaries, l.Canary):
		return false, time.Time{}
	case retry.After(now):
		return false, retry
	}
	return true, time.Time{}
}

// awaitsProof reports whether a member of an open group may soon give the user's first proof. A member that is busy or
// dormant is not waited for.
func (r *Rollout) awaitsProof(u *user, now time.Time) (isAwaited bool, wake time.Time) {
	if u.isProven {
		return false, time.Time{}
	}
	for _, g := range u.groups {
		if !g.isOpen {
			continue
		}
		for _, m := range g.inFlight {
			switch dormant := m.SignalledAt.Add(r.cfg.Limits.CanaryTimeout); {
			case m.State == Settling || m.gone:
				isAwaited = true
			case dormant.After(now):
				isAwaited, wake = true, earliest(wake, dormant)
			}
		}
	}
	return isAwaited, wake
}

// allowsFirstCanary checks the limits for the first canaries of all users: maxUnprovenUsers at a time, userDelay apart.
// A user with a dead canary counts as unproven, so that a bad binary costs no more than maxUnprovenUsers canaries.
func (r *Rollout) allowsFirstCanary(u *user, now time.Time) (isAllowed bool, wake time.Time) {
	if !u.firstCanaryAt.IsZero() || r.isProvenByAny() {
		return true, time.Time{}
	}
	unproven := 0
	for _, other := range r.users {
		isTrying := other.settling > 0 || now.Sub(other.lastCanaryAt) < r.cfg.Limits.CanaryTimeout
		switch {
		case other == u:
		case other.isFailed:
			unproven++
		case other.firstCanaryAt.IsZero() && r.isSendingFor(other):
			unproven++
			wake = earliest(wake, now.Add(recheckInterval))
		case !other.firstCanaryAt.IsZero() && isTrying:
			unproven++
			if end := other.firstCanaryAt.Add(userDelay); end.After(now) {
				wake = earliest(wake, end)
			}
		}
	}
	if unproven >= maxUnprovenUsers {
		return false, now.Add(recheckInterval)
	}
	// wake is set if the first canary of another user is being signalled, or was less than userDelay ago.
	return wake.IsZero(), wake
}

// inFlightEnd returns zero if [Limits.InFlight] allows another server, or else when that may change. A server that does
// not exec within [Limits.CanaryTimeout] is busy or dormant, and does not count.
func (r *Rollout) inFlightEnd(now time.Time) (end time.Time) {
	l := r.cfg.Limits
	limit := l.InFlight.of(r.total())
	if limit == 0 {
		return time.Time{}
	}
	inFlight := len(r.sending)
	for _, m := range r.members {
		dormant := m.SignalledAt.Add(l.CanaryTimeout)
		if m.State == Settling || m.State == Signalled && dormant.After(now) {
			inFlight++
			end = earliest(end, dormant)
		}
	}
	if inFlight < limit {
		return time.Time{}
	}
	if !end.After(now) {
		end = now.Add(recheckInterval)
	}
	return end
}

func (r *Rollout) total() int {
	n := 0
	for _, count := range r.counts {
		n += count
	}
	return n
}

// UnprovenCanaries returns the canaries of a member's user that were signalled and have not exec'd yet. Their exits may
// not be reported yet, so the caller inspects them before it signals another canary. There are none if the member's
// group is open.
func (r *Rollout) UnprovenCanaries(m *Member) []selector.PID {
	if r.group(m.Group).isOpen {
		return nil
	}
	var all []selector.PID
	for _, g := range r.user(m.UID).groups {
		if g.isOpen {
			continue
		}
		for pid, m := range g.inFlight {
			if m.State == Signalled && !m.gone {
				all = append(all, pid)
			}
		}
	}
	return all
}
