// SPDX-License-Identifier: MIT

package upgrade

import (
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
	deaths  int
	halted  bool
	// surveyed says that everybody was looked at; before, nothing is known to be complete.
	surveyed bool

	// moved is told of every change of a member's state.
	moved func(m Member, from State)
}

// newRollout begins a rollout. Who was asked for the install before it and has not exec'd yet will
// exec what stands there by then: a second signal could reach it in the middle of that.
func newRollout(limits Limits, install selector.Install, before *rollout, now time.Time) *rollout {
	r := &rollout{
		limits: limits, install: install, started: now, number: 1,
		members: make(map[selector.PID]*Member), counts: make(map[State]int),
		moved: func(Member, State) {},
	}
	r.gate.open = limits.Canary == 0
	if before == nil {
		return r
	}
	r.number, r.moved, r.signal, r.self = before.number+1, before.moved, before.signal, before.self
	for _, m := range before.members {
		switch m.State {
		case Notified, Stayed, Staying:
			r.carry(*m)
		}
	}
	return r
}

// carry takes a server over from the rollout before. One that stayed is asked for the new install as
// soon as the retry time has passed.
func (r *rollout) carry(m Member) {
	if m.State == Staying {
		m.State = Stayed
	}
	m.Attempts, m.carried, m.canary = 0, true, false
	r.members[m.PID] = &m
	r.counts[m.State]++
}

// member is the one that process is; nil when the rollout does not know it. The number alone may be
// that of an earlier process.
func (r *rollout) member(id selector.Identity, now time.Time) *Member {
	m := r.members[id.PID]
	if m == nil || m.identity() == id {
		return m
	}
	r.ended(id.PID, Exit{}, now) // nobody saw it
	return nil
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
		r.died(now)
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

// died counts a death, and halts when there were enough. Else the canaries begin anew.
func (r *rollout) died(now time.Time) {
	r.deaths++
	r.halted = r.halted || r.deaths >= r.limits.MaxFailures
	r.gate.since = now
}

// resume lets a halted rollout go on. Its canaries begin anew.
func (r *rollout) resume() {
	r.halted, r.deaths = false, 0
	r.gate = gate{open: r.limits.Canary == 0, queue: r.gate.queue}
}

// asked notes that we sent the signal to a pending server.
func (r *rollout) asked(m *Member, now time.Time) {
	m.ByOther, m.AskedAt, m.carried, m.canary = false, now, false, !r.gate.open
	m.Attempts++
	if m.canary && r.gate.since.IsZero() {
		r.gate.since = now
	}
	r.step(m, Asked, now)
}

// askedByOther notes that somebody else did, at that time.
func (r *rollout) askedByOther(m *Member, at, now time.Time) {
	m.ByOther, m.AskedAt, m.carried, m.canary = true, at, false, false
	r.step(m, Asked, now)
}

// execed takes the news that a server has exec'd. One that was asked for an earlier install may have
// exec'd that: only a look tells.
func (r *rollout) execed(pid selector.PID, now time.Time) {
	m := r.members[pid]
	if m == nil {
		return
	}
	if m.carried {
		delete(r.members, pid)
		r.count(m.State, -1)
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

// await says that a skipped server has just started and may still arm, or that it no longer may.
func (r *rollout) await(pid selector.PID) {
	if m := r.members[pid]; m != nil && m.State == Skipped && !m.arming {
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

// awaitNoMore ends what await began.
func (r *rollout) awaitNoMore(pid selector.PID) {
	if m := r.members[pid]; m != nil {
		r.disarm(m)
	}
}

// next is when a server must be looked at because of its state; zero is not at all.
func (r *rollout) next(pid selector.PID) time.Time {
	m := r.members[pid]
	if m == nil {
		return time.Time{}
	}
	switch m.State {
	case Notified:
		return m.AskedAt.Add(r.limits.ConfirmTimeout)
	case Holding:
		return m.Since.Add(r.limits.Hold)
	case Stayed:
		return m.AskedAt.Add(r.limits.RetryAfter)
	}
	return time.Time{}
}

// complete reports whether nothing is left to be done or waited for.
func (r *rollout) complete() bool {
	for _, s := range States() {
		if s.active() && r.counts[s] > 0 {
			return false
		}
	}
	return r.surveyed && r.arming == 0
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
		Phase: r.phase(paused), Servers: counts, Deaths: r.deaths,
	}
}

func (r *rollout) phase(paused bool) Phase {
	switch {
	case r.halted:
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
