// SPDX-License-Identifier: MIT

package rollout

import (
	"cmp"
	"slices"
	"time"

	"ebpf-upgrader/selector"
)

// roster has the members of a rollout by user and group, and counts them by state. It decides nothing.
type roster struct {
	members map[selector.PID]*Member
	// sending has the members with a delivery under way.
	sending map[selector.PID]*Member
	users   map[uint32]*user
	groups  map[Group]*group
	// counts has the members by state, and the ended ones.
	counts tally
	// armingCount counts the members that isArming.
	armingCount int
}

func newRoster() roster {
	return roster{
		members: make(map[selector.PID]*Member), sending: make(map[selector.PID]*Member),
		users: make(map[uint32]*user), groups: make(map[Group]*group),
	}
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

func (r *roster) user(uid uint32) *user {
	u := r.users[uid]
	if u == nil {
		u = &user{UserSnapshot: UserSnapshot{UID: uid}}
		r.users[uid] = u
	}
	return u
}

func (r *roster) group(key Group) *group {
	g := r.groups[key]
	if g == nil {
		g = &group{key: key, inFlight: make(map[selector.PID]*Member)}
		r.groups[key] = g
		u := r.user(key.User)
		u.groups = append(u.groups, g)
	}
	return g
}

// enter adds a member to its group, and counts it by its state.
func (r *roster) enter(m *Member) {
	g := r.group(m.Group)
	r.members[m.PID] = m
	r.counts[m.State]++
	g.counts[m.State]++
	g.hasCanary = g.hasCanary || m.rank == RankCanary
	switch m.State {
	case Pending:
		g.queue, g.isSorted = append(g.queue, m), false
	case Settling:
		r.user(m.Group.User).settling++
		fallthrough
	case Signalled:
		if !m.Carried {
			g.inFlight[m.PID] = m
		}
	}
}

// leave is the inverse of enter. The group stays, even without members: the member may enter it again.
func (r *roster) leave(m *Member) {
	g := r.group(m.Group)
	r.disarm(m)
	delete(r.members, m.PID)
	r.counts[m.State]--
	g.counts[m.State]--
	delete(g.inFlight, m.PID)
	if m.State == Settling {
		r.user(m.Group.User).settling--
	}
}

// forgetIfEmpty forgets a group without members.
func (r *roster) forgetIfEmpty(g *group) {
	if g.counts.total() == 0 {
		delete(r.groups, g.key)
		u := r.user(g.key.User)
		u.groups = slices.DeleteFunc(u.groups, func(other *group) bool { return other == g })
	}
}

// regroup moves a member to another group. The environment of a server changes when it execs.
func (r *roster) regroup(m *Member, key Group) {
	if m.State == None || m.Group == key {
		m.Group, m.UID = key, key.User
		return
	}
	r.leave(m)
	r.forgetIfEmpty(r.group(m.Group))
	m.Group, m.UID = key, key.User
	r.enter(m)
}

// countOverdue makes a settling member overdue (by = 1), which halts its group, or ends that (by = -1).
func (r *roster) countOverdue(m *Member, by int) {
	m.isOverdue = by > 0
	r.group(m.Group).overdue += by
	r.user(m.Group.User).overdue += by
}

func (r *roster) endOverdue(m *Member) {
	if m.isOverdue {
		r.countOverdue(m, -1)
	}
}

func (r *roster) disarm(m *Member) {
	if m.isArming {
		m.isArming = false
		r.armingCount--
	}
}

// isQueued reports whether an entry of a group's queue is still valid.
func (r *roster) isQueued(m *Member, g *group) bool {
	return m.State == Pending && m.Group == g.key && r.members[m.PID] == m
}

// sort removes invalid entries from the queue, and sorts the others by rank and PID.
func (r *roster) sort(g *group) {
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

// maxSending is how many deliveries to members of a user may be under way.
const maxSending = 8

// sendingFor counts the deliveries to members of a user that are under way, and those among them that are to a canary.
func (r *roster) sendingFor(u *user) (all, canaries int) {
	for _, m := range r.sending {
		if r.users[m.UID] != u {
			continue
		}
		all++
		if !r.group(m.Group).isOpen {
			canaries++
		}
	}
	return all, canaries
}
