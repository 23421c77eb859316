// SPDX-License-Identifier: MIT

package rollout

import (
	"cmp"
	"slices"
	"time"

	"ebpf-upgrader/selector"
)

// user is what a rollout knows of one user.
type user struct {
	groups []*group
	deaths int
	// isHalted says that no server of the user is signalled any more, and why is the reason.
	isHalted bool
	why      string
	// isProven says that a server of the user lived for the hold time after it was armed.
	isProven bool
	// isFailed says that a server of the user died before that.
	isFailed bool
	// firstAt is when the user's first canary was signalled; zero: not yet.
	firstAt time.Time
	// lastAt is when the latest one was.
	lastAt time.Time
	// settling counts the members in that state.
	settling int
}

func (u *user) hasOverdue() bool {
	return slices.ContainsFunc(u.groups, func(g *group) bool { return g.overdue > 0 })
}

// group is what a rollout knows of one group.
type group struct {
	key Group
	// isOpen says that its canaries have proven the file, so that the others follow.
	isOpen bool
	// proofs is how many members were armed for the group's hold time.
	proofs int
	// hasCanary says that it has, or had, a member of rank RankCanary.
	hasCanary bool
	// members, pending, active and overdue count its members: all, those in two kinds of states, and those that run the
	// new image without a handler for too long.
	members, pending, active, overdue int
	// flight has the members that are signalled or settling, but for those that were carried over.
	flight map[selector.PID]*Member
	// isWaiting says that a member is waited for that is busy.
	isWaiting bool
	// queue has the pending members, and others, in order if isSorted.
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
		g = &group{key: key, flight: make(map[selector.PID]*Member)}
		r.groups[key] = g
		u := r.user(key.User)
		u.groups = append(u.groups, g)
	}
	return g
}

// insert makes a server a member.
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

// tally counts a member in its group, or takes it off.
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
		g.flight[m.PID] = m
	default:
		delete(g.flight, m.PID)
	}
	if m.State == Settling {
		r.user(m.Group.User).settling += by
	}
}

// regroup moves a member to the group that it belongs to now.
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

// first is the first pending member of a group that is allowed. wake is when another one may be although nothing happens.
func (r *Rollout) first(g *group, now time.Time, allows func(*Member) Permission) (first *Member, wake time.Time) {
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
		switch says := allows(m); says {
		case Allow:
			m.Overran = false
			return m, time.Time{}
		case Busy, Unsure:
			if m.Overran = !r.waitFor(m, g, now, says); m.Overran {
				return m, time.Time{}
			}
			waiting++
		case Later:
			wake = earliest(wake, now.Add(checkEvery))
		}
	}
	if waiting > 0 {
		wake = earliest(wake, now.Add(max(sampleEvery, time.Duration(waiting)*sampleEach)))
	}
	return nil, wake
}

// isQueued reports whether an entry of a group's queue still counts.
func (r *Rollout) isQueued(m *Member, g *group) bool {
	return m.State == Pending && m.Group == g.key && r.members[m.PID] == m
}

// sort drops those that are not pending any more, and brings the others in order.
func (r *Rollout) sort(g *group) {
	i := 0
	for i < len(g.queue) && g.isSorted && !r.isQueued(g.queue[i], g) {
		i++ // the usual case: the first ones have just been signalled
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

// isSelfTooEarly reports whether a member is the process that goes last, and others are to be signalled before.
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

// earliest is the earlier of two moments; zero is none.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
