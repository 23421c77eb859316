// SPDX-License-Identifier: MIT

package rollout

import (
	"cmp"
	"slices"
	"time"

	"ebpf-upgrader/selector"
)

// Permission says whether a pending member may be signalled, as far as the rollout does not know.
type Permission uint8

// The permissions.
const (
	// Refuse says: not now; an event will say when.
	Refuse Permission = iota
	// Later says: not now, and nothing will say when.
	Later
	// Unsure says: not now, for it is soon known whether it is busy. Nothing will say when.
	Unsure
	// Busy says: not now, as long as the limits let a busy server wait. Nothing will say when.
	Busy
	// Allow says: now.
	Allow
)

// checkEvery is the time between two questions about members that may be allowed later.
const checkEvery = 50 * time.Millisecond

// sampleEvery is the same for members that are busy, or that may be; sampleEach is that time for each of many, so that the
// questions alone cost nothing that counts.
const (
	sampleEvery = 25 * time.Millisecond
	sampleEach  = 250 * time.Microsecond
)

// Next lists members that may be signalled now, at most one for each user. wake is when there may be another although
// nothing happens; zero: not at all. allows is asked for pending members in their order.
func (r *Rollout) Next(now time.Time, allows func(*Member) Permission) (ready []*Member, wake time.Time) {
	if r.isHaltedForAll() {
		return nil, time.Time{}
	}
	if end := r.flightEnd(now); !end.IsZero() {
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

// HasPending reports whether any member waits for its turn.
func (r *Rollout) HasPending() bool { return r.counts[Pending] > 0 }

// nextOf is the member of a user that may be signalled now.
func (r *Rollout) nextOf(u *user, now time.Time, allows func(*Member) Permission) (m *Member, wake time.Time) {
	isWaiting := false
	for _, g := range u.groups {
		at := r.prove(g, now)
		if g.overdue > 0 || g.pending == 0 {
			continue
		}
		if !g.isOpen {
			isWaiting = true
			wake = earliest(wake, at)
			continue
		}
		m, at := r.first(g, now, allows)
		if m != nil {
			return m, time.Time{}
		}
		wake = earliest(wake, at)
	}
	if !isWaiting {
		return nil, wake
	}
	m, at := r.nextCanary(u, now, allows)
	return m, earliest(wake, at)
}

// prove opens a group once its canaries have been armed for the group's hold time, and says when the next of them will.
func (r *Rollout) prove(g *group, now time.Time) (next time.Time) {
	l := r.cfg.Limits
	if l.Canary == 0 {
		g.isOpen = true
	}
	if g.isOpen {
		return time.Time{}
	}
	proofs := g.proofs
	for _, m := range g.flight {
		switch end := m.ArmedAt.Add(l.GroupHold); {
		case r.isProof(m, now):
			proofs++
		case !m.ArmedAt.IsZero() && !m.gone:
			next = earliest(next, end)
		}
	}
	if g.isOpen = proofs >= l.Canary; g.isOpen {
		g.stopWaiting()
	}
	return next
}

// isProof reports whether a member has been armed for the group's hold time.
func (r *Rollout) isProof(m *Member, now time.Time) bool {
	return m.State == Settling && !m.ArmedAt.IsZero() && !m.gone && now.Sub(m.ArmedAt) >= r.cfg.Limits.GroupHold
}

// nextCanary is the member that may be the next canary of a user some of whose groups are closed.
func (r *Rollout) nextCanary(u *user, now time.Time, allows func(*Member) Permission) (m *Member, wake time.Time) {
	for _, mayGo := range []func(*user, time.Time) (bool, time.Time){r.mayTry, r.mayBegin} {
		if isFree, at := mayGo(u, now); !isFree {
			u.stopWaiting()
			return nil, at
		}
	}
	closed := slices.DeleteFunc(slices.Clone(u.groups), func(g *group) bool {
		return g.isOpen || g.pending == 0 || g.overdue > 0
	})
	slices.SortStableFunc(closed, func(a, b *group) int {
		return cmp.Or(cmp.Compare(len(a.flight), len(b.flight)), cmp.Compare(a.members, b.members))
	})
	for _, g := range closed {
		m, at := r.first(g, now, allows)
		if m != nil {
			return m, time.Time{}
		}
		wake = earliest(wake, at)
	}
	return nil, wake
}

// mayTry holds the user's canaries against the limits: one at a time, and the next one beside those that are busy or
// dormant. wake is when that may change although nothing happens.
func (r *Rollout) mayTry(u *user, now time.Time) (isFree bool, wake time.Time) {
	if isComing, at := r.awaitsProof(u, now); isComing {
		return false, at
	}
	l := r.cfg.Limits
	unproven, isSettling := 0, false
	var youngest time.Time
	for _, g := range u.groups {
		if g.isOpen {
			continue
		}
		unproven += len(g.flight)
		for _, m := range g.flight {
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

// awaitsProof reports whether a server of a group that is open may give the user's first proof. A busy or dormant one is
// not waited for.
func (r *Rollout) awaitsProof(u *user, now time.Time) (isComing bool, wake time.Time) {
	if u.isProven {
		return false, time.Time{}
	}
	for _, g := range u.groups {
		if !g.isOpen {
			continue
		}
		for _, m := range g.flight {
			switch dormant := m.SignalledAt.Add(r.cfg.Limits.CanaryTimeout); {
			case m.State == Settling || m.gone:
				isComing = true
			case dormant.After(now):
				isComing, wake = true, earliest(wake, dormant)
			}
		}
	}
	return isComing, wake
}

// mayBegin holds the first canary of a user against those of the other users of the file. Users whose canaries died count
// like those whose canaries are unproven, so that a bad binary takes no more than those.
func (r *Rollout) mayBegin(u *user, now time.Time) (isFree bool, wake time.Time) {
	if !u.firstAt.IsZero() || r.isProvenByAny() {
		return true, time.Time{}
	}
	unproven := 0
	for _, other := range r.users {
		isTrying := other.settling > 0 || now.Sub(other.lastAt) < r.cfg.Limits.CanaryTimeout
		switch {
		case other == u:
		case other.isFailed:
			unproven++
		case other.firstAt.IsZero() && r.isSendingFor(other):
			unproven++
			wake = earliest(wake, now.Add(checkEvery))
		case !other.firstAt.IsZero() && isTrying:
			unproven++
			if end := other.firstAt.Add(userDelay); end.After(now) {
				wake = earliest(wake, end)
			}
		}
	}
	if unproven >= maxUnprovenUsers {
		return false, now.Add(checkEvery)
	}
	return wake.IsZero(), wake
}

// flightEnd is zero if one more server may be on its way, else when one of them may count as dormant. A server that does
// not exec within the canaries' time is busy or dormant, and holds no other up.
func (r *Rollout) flightEnd(now time.Time) (end time.Time) {
	l := r.cfg.Limits
	bound := l.InFlight.of(r.total())
	if bound == 0 {
		return time.Time{}
	}
	flying := len(r.sending)
	for _, m := range r.members {
		dormant := m.SignalledAt.Add(l.CanaryTimeout)
		if m.State == Settling || m.State == Signalled && dormant.After(now) {
			flying++
			end = earliest(end, dormant)
		}
	}
	if flying < bound {
		return time.Time{}
	}
	if !end.After(now) {
		end = now.Add(checkEvery)
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

// UnprovenCanaries are the canaries in whose place a member would go: those of its user that were signalled and have not exec'd yet.
// Each may have died unseen, so they are inspected before the member is signalled. There are none once its group is open.
func (r *Rollout) UnprovenCanaries(m *Member) []selector.PID {
	if r.group(m.Group).isOpen {
		return nil
	}
	var all []selector.PID
	for _, g := range r.user(m.UID).groups {
		if g.isOpen {
			continue
		}
		for pid, m := range g.flight {
			if m.State == Signalled && !m.gone {
				all = append(all, pid)
			}
		}
	}
	return all
}
