// SPDX-License-Identifier: MIT

package upgrade

import (
	"maps"
	"slices"
	"syscall"
	"time"

	"ebpf-upgrader/selector"
)

// rollout is what became of each server for one installed image. It knows neither clock nor kernel:
// it is told what was seen and when. It belongs to one goroutine.
type rollout struct {
	limits  Limits
	signal  syscall.Signal
	self    selector.PID
	number  uint64
	install selector.Install
	started time.Time

	members map[selector.PID]*Member
	counts  map[State]int
	arming  int
	gate    gate
	// deaths are counted by user, and barred are the users whose servers are not asked any more.
	deaths map[uint32]int
	barred map[uint32]bool
	// at are the places that lead to the installed image.
	at []*place
	// told is the phase that the observer knows.
	told Phase
	// surveyed says that everybody was looked at; before, nothing is known to be complete.
	surveyed bool
	// postponed says that somebody who may belong to it is yet to be looked at.
	postponed bool

	// moved is told of every change of a member's state.
	moved func(m Member, from State)
}

// newRollout begins a rollout.
func newRollout(limits Limits, number uint64, install selector.Install, now time.Time) *rollout {
	r := &rollout{
		limits: limits, install: install, started: now, number: number,
		members: make(map[selector.PID]*Member), counts: make(map[State]int),
		deaths: make(map[uint32]int), barred: make(map[uint32]bool),
		moved: func(Member, State) {}, told: PhaseIdle,
	}
	r.gate.open = limits.Canary == 0
	return r
}

// carry takes a server over from another rollout, which it leaves. Who was asked for the install
// before and has not exec'd yet will exec what stands there by then: a second signal could reach it in
// the middle of that. One that stayed is asked for the new install as soon as the retry time has
// passed. What else became of a server was for the install before, and it is not taken over.
func (r *rollout) carry(from *rollout, m *Member) bool {
	from.drop(m)
	switch m.State {
	case Notified, Stayed:
	case Staying:
		m.State = Stayed
	default:
		return false
	}
	m.Attempts, m.carried, m.canary = 0, true, false
	r.add(m)
	return true
}

// add takes a server in as it is.
func (r *rollout) add(m *Member) {
	m.Rollout = r.number
	r.members[m.PID] = m
	r.count(m.State, 1)
}

// drop forgets a server without telling anybody.
func (r *rollout) drop(m *Member) {
	r.disarm(m)
	delete(r.members, m.PID)
	r.count(m.State, -1)
}

// step moves a member, if the step leads anywhere from its state.
func (r *rollout) step(m *Member, s Step, now time.Time) {
	from := m.State
	to, moves := from.after(s)
	if !moves {
		return
	}
	m.State, m.Since = to, now
	if from == Skipped {
		r.disarm(m)
	}
	if from != Upgraded {
		r.count(from, -1)
	}
	r.count(to, 1)
	switch to {
	case None, Left, Died:
		delete(r.members, m.PID)
	default:
		r.members[m.PID] = m
	}
	switch {
	case to == Pending:
		r.gate.add(m.PID)
	case to == Died && !m.carried:
		r.died(m.UID, now)
	case to == Upgraded && m.canary:
		r.gate.upgraded++
	}
	r.moved(*m, from)
}

func (r *rollout) count(s State, by int) {
	if s != None {
		r.counts[s] += by
	}
}

// usersToHaltAll is how many users must have lost servers before nobody's are asked any more. A user
// can have his own die on purpose, and must not keep another's from being upgraded by that.
const usersToHaltAll = 2

// died counts a death, and bars its user when there were enough. The canaries begin anew.
func (r *rollout) died(user uint32, now time.Time) {
	r.deaths[user]++
	r.gate.since = now
	if r.deaths[user] >= r.limits.MaxFailures && !r.barred[user] {
		r.barred[user] = true
		r.gate = gate{open: r.limits.Canary == 0, queue: r.gate.queue}
	}
}

// halts reports whether servers of the user are not asked any more.
func (r *rollout) halts(user uint32) bool { return r.barred[user] || len(r.barred) >= usersToHaltAll }

// halted reports whether nobody is asked any more because servers died.
func (r *rollout) halted() bool {
	if len(r.barred) == 0 {
		return false
	}
	for _, m := range r.members {
		if m.State.active() && !r.halts(m.UID) {
			return false
		}
	}
	return true
}

// resume lets a halted rollout go on. Its canaries begin anew.
func (r *rollout) resume() {
	clear(r.barred)
	clear(r.deaths)
	r.gate = gate{open: r.limits.Canary == 0, queue: r.gate.queue}
}

// deathsOfAll is how many died, of whomever.
func (r *rollout) deathsOfAll() int {
	n := 0
	for _, deaths := range r.deaths {
		n += deaths
	}
	return n
}

// asked notes that we sent the signal to a pending server, after the moment before.
func (r *rollout) asked(m *Member, before, now time.Time) {
	m.before, m.Detail = before, ""
	m.ByOther, m.AskedAt, m.carried, m.execed, m.canary = false, now, false, false, !r.gate.open
	m.Attempts++
	if m.canary && r.gate.since.IsZero() {
		r.gate.since = now
	}
	r.step(m, Asked, now)
}

// askedByOther notes that somebody else did, at that time.
func (r *rollout) askedByOther(m *Member, at, now time.Time) {
	m.before = at
	m.ByOther, m.AskedAt, m.carried, m.execed, m.canary = true, at, false, false, false
	r.step(m, Asked, now)
}

// execed takes the news that a server has exec'd. One that was asked for an earlier install may have
// exec'd that: only a look tells, and until then nothing is complete.
func (r *rollout) execed(pid selector.PID, now time.Time) {
	m := r.members[pid]
	if m == nil {
		return
	}
	if m.carried {
		m.execed = true
		return
	}
	r.step(m, Exec, now)
}

// holds reports whether a server has exec'd after it was asked, and is watched for the hold time.
func (r *rollout) holds(pid selector.PID) bool {
	m := r.members[pid]
	return m != nil && m.State == Holding
}

// wasAsked reports whether a server was asked for this install, or still has to answer for the last.
func (r *rollout) wasAsked(pid selector.PID) bool {
	m := r.members[pid]
	return m != nil && m.State.Kept()
}

// ended takes the news that a process is gone.
func (r *rollout) ended(pid selector.PID, exit Exit, now time.Time) {
	m := r.members[pid]
	if m == nil {
		return
	}
	s := exit.step(m.State, r.signal)
	if m.State == Notified || m.State == Holding || s == Crashed {
		m.Detail = exit.describe(r.signal)
	}
	r.step(m, s, now)
}

// refused notes that the kernel did not take the signal.
func (r *rollout) refused(m *Member, err error, now time.Time) {
	m.Detail = err.Error()
	r.step(m, TurnedDown, now)
}

// await says whether a skipped server has just started and may still arm.
func (r *rollout) await(pid selector.PID, arming bool) {
	m := r.members[pid]
	switch {
	case m == nil:
	case !arming:
		r.disarm(m)
	case m.State == Skipped && !m.arming:
		m.arming = true
		r.arming++
	}
}

func (r *rollout) disarm(m *Member) {
	if m.arming {
		m.arming = false
		r.arming--
	}
}

// complete reports whether nothing is left to be done or waited for.
func (r *rollout) complete() bool {
	for _, s := range States() {
		if s.active() && r.counts[s] > 0 {
			return false
		}
	}
	return r.surveyed && !r.postponed && r.arming == 0
}

// report says how far the rollout has come.
func (r *rollout) report(paused bool) Rollout {
	counts := make(map[State]int)
	for state, n := range r.counts {
		if n > 0 {
			counts[state] = n
		}
	}
	return Rollout{
		Number: r.number, Install: r.install, Started: r.started,
		Phase: r.phase(paused), Servers: counts, Deaths: r.deathsOfAll(),
		Halted: slices.Sorted(maps.Keys(r.barred)),
	}
}

func (r *rollout) phase(paused bool) Phase {
	switch {
	case r.halted():
		return PhaseHalted
	case paused:
		return PhasePaused
	case r.complete():
		return PhaseComplete
	case !r.gate.open:
		return PhaseCanary
	}
	return PhaseRolling
}
