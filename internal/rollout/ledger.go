// SPDX-License-Identifier: MIT

package rollout

import (
	"cmp"
	"slices"
	"time"

	"ebpf-upgrader/selector"
)

// ledger has the members of a rollout by user and group, and counts them.
type ledger struct {
	cfg     Config
	number  uint64
	install selector.Install
	started time.Time

	members map[selector.PID]*Member
	// sending has the members with a delivery under way.
	sending map[selector.PID]*Member
	users   map[uint32]*user
	groups  map[Group]*group
	// counts has the members by state, and the ended ones.
	counts map[State]int
	// armingCount counts the members that isArming.
	armingCount int
	// foreign counts deaths after signals of other senders, by sender. unhandled counts those of them that the signal
	// itself caused.
	foreign   map[selector.PID]int
	unhandled int
}

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

func (l *ledger) user(uid uint32) *user {
	u := l.users[uid]
	if u == nil {
		u = &user{}
		l.users[uid] = u
	}
	return u
}

func (l *ledger) group(key Group) *group {
	g := l.groups[key]
	if g == nil {
		g = &group{key: key, inFlight: make(map[selector.PID]*Member)}
		l.groups[key] = g
		u := l.user(key.User)
		u.groups = append(u.groups, g)
	}
	return g
}

// insert makes a server a member, if it is none.
func (l *ledger) insert(m *Member) {
	if l.members[m.PID] != m {
		l.members[m.PID] = m
		g := l.group(m.Group)
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
func (l *ledger) remove(m *Member) {
	if l.members[m.PID] != m {
		return
	}
	delete(l.members, m.PID)
	g := l.group(m.Group)
	if g.members--; g.members > 0 {
		return
	}
	delete(l.groups, m.Group)
	u := l.user(m.Group.User)
	u.groups = slices.DeleteFunc(u.groups, func(other *group) bool { return other == g })
}

// tally adds a member to the counts of its group (by = 1), or removes it from them (by = -1).
func (l *ledger) tally(m *Member, by int) {
	g := l.group(m.Group)
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
		l.user(m.Group.User).settling += by
	}
}

// regroup moves a member to another group. The environment of a server changes when it execs.
func (l *ledger) regroup(m *Member, key Group) {
	switch {
	case m.Group == key:
	case m.State == None:
		m.Group, m.UID = key, key.User
	default:
		l.tally(m, -1)
		l.remove(m)
		m.Group, m.UID = key, key.User
		l.insert(m)
		l.tally(m, 1)
	}
}

// isQueued reports whether an entry of a group's queue is still valid.
func (l *ledger) isQueued(m *Member, g *group) bool {
	return m.State == Pending && m.Group == g.key && l.members[m.PID] == m
}

// sort removes invalid entries from the queue, and sorts the others by rank and PID.
func (l *ledger) sort(g *group) {
	i := 0
	for i < len(g.queue) && g.isSorted && !l.isQueued(g.queue[i], g) {
		i++ // the usual case: the first members have just been signalled
	}
	g.queue = g.queue[i:]
	if g.isSorted {
		return
	}
	g.queue = slices.DeleteFunc(slices.Clone(g.queue), func(m *Member) bool { return !l.isQueued(m, g) })
	slices.SortFunc(g.queue, func(a, b *Member) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.PID, b.PID))
	})
	g.queue = slices.Compact(g.queue)
	g.isSorted = true
}

// earliest returns the earlier of two moments. Zero means none.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// prove opens a group once enough of its canaries have been armed for [Limits.GroupHold]. next is when the next canary
// will have been; zero: none is armed.
func (l *ledger) prove(g *group, now time.Time) (next time.Time) {
	limits := l.cfg.Limits
	if limits.Canary == 0 {
		g.isOpen = true
	}
	if g.isOpen {
		return time.Time{}
	}
	proofs := g.proofs
	for _, m := range g.inFlight {
		switch end := m.ArmedAt.Add(limits.GroupHold); {
		case l.isProof(m, now):
			proofs++
		case !m.ArmedAt.IsZero() && !m.gone:
			next = earliest(next, end)
		}
	}
	if g.isOpen = proofs >= limits.Canary; g.isOpen {
		g.resetWaits()
	}
	return next
}

// isProof reports whether a member has been armed for [Limits.GroupHold].
func (l *ledger) isProof(m *Member, now time.Time) bool {
	return m.State == Settling && !m.ArmedAt.IsZero() && !m.gone && now.Sub(m.ArmedAt) >= l.cfg.Limits.GroupHold
}

func (l *ledger) total() int {
	n := 0
	for _, count := range l.counts {
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
