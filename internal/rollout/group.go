// SPDX-License-Identifier: MIT

package rollout

import (
	"cmp"
	"slices"
	"time"

	"ebpf-upgrader/selector"
)

// user holds what a rollout knows of one user.
type user struct {
	groups []*group
	deaths int
	// isHalted says that no server of the user is signalled any more, for haltReason.
	isHalted   bool
	haltReason string
	// isProven says that a server of the user lived for the hold time after it was armed.
	isProven bool
	// isFailed says that a server of the user died before that.
	isFailed bool
	// firstCanaryAt is when the first canary of the user was signalled, and lastCanaryAt the latest one; zero: not yet.
	firstCanaryAt, lastCanaryAt time.Time
	// settling counts the members in the state Settling.
	settling int
}

func (u *user) hasOverdue() bool {
	return slices.ContainsFunc(u.groups, func(g *group) bool { return g.overdue > 0 })
}

// group holds what a rollout knows of one group.
type group struct {
	key Group
	// isOpen says that the canaries have proven the file, so that the other members follow.
	isOpen bool
	// proofs counts the members that were armed for [Limits.GroupHold] and have left the state Settling.
	proofs int
	// hasCanary says that the group has, or had, a member of rank RankCanary.
	hasCanary bool
	// members, pending, active and overdue count its members: all, those in the state Pending, those in a state that
	// isActive, and those that were not armed within [ArmTimeout].
	members, pending, active, overdue int
	// inFlight has the members that are signalled or settling, except those that were carried over.
	inFlight map[selector.PID]*Member
	// hasWaiting says that a member of the queue waits for a quiet moment.
	hasWaiting bool
	// queue has the pending members, in order if isSorted. It may also have entries that isQueued rejects.
	queue    []*Member
	isSorted bool
}

func (r *Rollout) user(uid uint32) *user {
	u := r.users[uid]
	if u == nil {
		u = &user{}
		r.users[uid] = u
	}
	return u
}

func (r *Rollout) group(key Group) *group {
	g := r.groups[key]
	if g == nil {
		g = &group{key: key, inFlight: make(map[selector.PID]*Member)}
		r.groups[key] = g
		u := r.user(key.User)
		u.groups = append(u.groups, g)
	}
	return g
}

// insert makes a server a member, if it is none.
func (r *Rollout) insert(m *Member) {
	if r.members[m.PID] != m {
		r.members[m.PID] = m
		g := r.group(m.Group)
		g.members++
		g.hasCanary = g.hasCanary || m.rank == RankCanary
	}
}

// LacksCanary reports whether a group that is closed has no member of rank [RankCanary].
func (r *Rollout) LacksCanary(key Group) bool {
	g := r.groups[key]
	return g == nil || !g.isOpen && !g.hasCanary
}

// remove ends the membership. A group without members is forgotten.
func (r *Rollout) remove(m *Member) {
	if r.members[m.PID] != m {
		return
	}
	delete(r.members, m.PID)
	g := r.group(m.Group)
	if g.members--; g.members > 0 {
		return
	}
	delete(r.groups, m.Group)
	u := r.user(m.Group.User)
	u.groups = slices.DeleteFunc(u.groups, func(other *group) bool { return other == g })
}

// tally adds a member to the counts of its group (by = 1), or removes it from them (by = -1).
func (r *Rollout) tally(m *Member, by int) {
	g := r.group(m.Group)
	if m.State.isActive() {
		g.active += by
	}
	if m.isOverdue {
		g.overdue += by
	}
	switch {
	case m.State == Pending:
		g.pending += by
		if by > 0 {
			g.queue, g.isSorted = append(g.queue, m), false
		}
	case m.State != Signalled && m.State != Settling || m.carried:
	case by > 0:
		g.inFlight[m.PID] = m
	default:
		delete(g.inFlight, m.PID)
	}
	if m.State == Settling {
		r.user(m.Group.User).settling += by
	}
}

// regroup moves a member to another group. The environment of a server changes when it execs.
func (r *Rollout) regroup(m *Member, key Group) {
	switch {
	case m.Group == key:
	case m.State == None:
		m.Group, m.UID = key, key.User
	default:
		r.tally(m, -1)
		r.remove(m)
		m.Group, m.UID = key, key.User
		r.insert(m)
		r.tally(m, 1)
	}
}

// firstAllowed returns the first pending member of a group that may be signalled, or nil. wake is when that must be
// computed again without an event; zero: never.
func (r *Rollout) firstAllowed(g *group, now time.Time, allows func(*Member) Permission) (first *Member, wake time.Time) {
	r.sort(g)
	waiting := 0
	for _, m := range g.queue {
		if !r.isQueued(m, g) || r.isSelfTooEarly(m) {
			continue
		}
		if end := m.Since.Add(r.cfg.Limits.Yield); end.After(now) {
			wake = earliest(wake, end)
			continue
		}
		switch permission := allows(m); permission {
		case Allow:
			m.Overran = false
			return m, time.Time{}
		case Busy, Unsure:
			if m.Overran = !r.waitsForQuiet(m, g, now, permission); m.Overran {
				return m, time.Time{}
			}
			waiting++
		case Later:
			wake = earliest(wake, now.Add(recheckInterval))
		}
	}
	if waiting > 0 {
		wake = earliest(wake, now.Add(max(sampleInterval, time.Duration(waiting)*samplePerMember)))
	}
	return nil, wake
}

// isQueued reports whether an entry of a group's queue is still valid.
func (r *Rollout) isQueued(m *Member, g *group) bool {
	return m.State == Pending && m.Group == g.key && r.members[m.PID] == m
}

// sort removes invalid entries from the queue, and sorts the others by rank and PID.
func (r *Rollout) sort(g *group) {
	i := 0
	for i < len(g.queue) && g.isSorted && !r.isQueued(g.queue[i], g) {
		i++ // the usual case: the first members have just been signalled
	}
	g.queue = g.queue[i:]
	if g.isSorted {
		return
	}
	g.queue = slices.DeleteFunc(slices.Clone(g.queue), func(m *Member) bool { return !r.isQueued(m, g) })
	slices.SortFunc(g.queue, func(a, b *Member) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.PID, b.PID))
	})
	g.queue = slices.Compact(g.queue)
	g.isSorted = true
}

// isSelfTooEarly reports whether a member is [Config.Self] while other members are still pending.
func (r *Rollout) isSelfTooEarly(m *Member) bool {
	if m.PID != r.cfg.Self {
		return false
	}
	pending := 0
	for _, u := range r.users {
		if u.isHalted {
			continue
		}
		for _, g := range u.groups {
			if g.overdue == 0 {
				pending += g.pending
			}
		}
	}
	return pending > 1
}

// earliest returns the earlier of two moments. Zero means none.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
