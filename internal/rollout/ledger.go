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
	// from is what the first member ran that was signalled. lastOutcome is as in [Report].
	from        selector.Binary
	lastOutcome time.Time

	members map[selector.PID]*Member
	// sending has the members with a delivery under way.
	sending map[selector.PID]*Member
	users   map[uint32]*user
	groups  map[Group]*group
	// counts has the members by state, and the ended ones.
	counts tally
	// armingCount counts the members that isArming.
	armingCount int
	// foreign counts deaths after signals of other senders, by sender. unhandled counts those of them that the signal
	// itself caused.
	foreign   map[selector.PID]int
	unhandled int
	// abandoned is set once an operator has ended the rollout for all users.
	abandoned *Act
}

// user holds what a rollout knows of one user.
type user struct {
	UserSnapshot
	groups []*group
	// firstCanaryAt is when the first canary of the user was signalled, and lastCanaryAt the latest one; zero: not yet.
	firstCanaryAt, lastCanaryAt time.Time
	// settling counts the members in the state Settling, and overdue those that were not armed within [Limits.ArmTimeout].
	settling, overdue int
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
	// counts has the numbers of its members by state. overdue counts those that were not armed within [Limits.ArmTimeout].
	counts  tally
	overdue int
	// inFlight has the members that are signalled or settling, except those that were carried over.
	inFlight map[selector.PID]*Member
	// hasWaiting says that a member of the queue waits for a quiet moment.
	hasWaiting bool
	// queue has the pending members, in order if isSorted. It may also have entries that isQueued rejects.
	queue    []*Member
	isSorted bool
}

// tally counts members by state.
type tally [Skipped + 1]int

func (t tally) total() (n int) {
	for _, count := range t {
		n += count
	}
	return n
}

// active counts the members that are still to be signalled or awaited.
func (t tally) active() int { return t[Pending] + t[Signalled] + t[Settling] + t[TimedOut] }

// behind counts the members that still run another image than the installed one.
func (t tally) behind() int {
	return t[Pending] + t[Signalled] + t[TimedOut] + t[GaveUp] + t[Skipped]
}

func (l *ledger) user(uid uint32) *user {
	u := l.users[uid]
	if u == nil {
		u = &user{UserSnapshot: UserSnapshot{UID: uid}}
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

// memberOf returns the member with the PID of a process, or a new one that no group has yet.
func (l *ledger) memberOf(p selector.Process, rank Rank) *Member {
	if m := l.members[p.PID]; m != nil {
		return m
	}
	return &Member{
		PID: p.PID, StartTime: p.StartTime, Rollout: l.number, rank: rank, Group: GroupOf(p), UID: p.Credentials.Owner.UID,
		WorkDir: p.WorkDir,
	}
}

// LacksCanary reports whether a group that is closed has no member of rank [RankCanary].
func (r *Rollout) LacksCanary(key Group) bool {
	g := r.groups[key]
	return g == nil || !g.isOpen && !g.hasCanary
}

// enter adds a member to its group, and counts it by its state.
func (l *ledger) enter(m *Member) {
	g := l.group(m.Group)
	l.members[m.PID] = m
	l.counts[m.State]++
	g.counts[m.State]++
	g.hasCanary = g.hasCanary || m.rank == RankCanary
	switch m.State {
	case Pending:
		g.queue, g.isSorted = append(g.queue, m), false
	case Settling:
		l.user(m.Group.User).settling++
		fallthrough
	case Signalled:
		if !m.Carried {
			g.inFlight[m.PID] = m
		}
	}
}

// leave is the inverse of enter. The group stays, even without members: the member may enter it again.
func (l *ledger) leave(m *Member) {
	g := l.group(m.Group)
	l.disarm(m)
	delete(l.members, m.PID)
	l.counts[m.State]--
	g.counts[m.State]--
	delete(g.inFlight, m.PID)
	if m.State == Settling {
		l.user(m.Group.User).settling--
	}
}

// forgetIfEmpty forgets a group without members.
func (l *ledger) forgetIfEmpty(g *group) {
	if g.counts.total() == 0 {
		delete(l.groups, g.key)
		u := l.user(g.key.User)
		u.groups = slices.DeleteFunc(u.groups, func(other *group) bool { return other == g })
	}
}

// regroup moves a member to another group. The environment of a server changes when it execs.
func (l *ledger) regroup(m *Member, key Group) {
	if m.State == None || m.Group == key {
		m.Group, m.UID = key, key.User
		return
	}
	l.leave(m)
	l.forgetIfEmpty(l.group(m.Group))
	m.Group, m.UID = key, key.User
	l.enter(m)
}

// countOverdue makes a settling member overdue (by = 1), which halts its group, or ends that (by = -1).
func (l *ledger) countOverdue(m *Member, by int) {
	m.isOverdue = by > 0
	l.group(m.Group).overdue += by
	l.user(m.Group.User).overdue += by
}

func (l *ledger) endOverdue(m *Member) {
	if m.isOverdue {
		l.countOverdue(m, -1)
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
	limits, canaries := l.cfg.Limits, l.canaries(l.user(g.key.User))
	if canaries == 0 {
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
	if g.isOpen = proofs >= canaries; g.isOpen {
		g.resetWaits()
	}
	return next
}

// isProof reports whether a member has been armed for [Limits.GroupHold].
func (l *ledger) isProof(m *Member, now time.Time) bool {
	return m.State == Settling && !m.ArmedAt.IsZero() && !m.gone && now.Sub(m.ArmedAt) >= l.cfg.Limits.GroupHold
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
