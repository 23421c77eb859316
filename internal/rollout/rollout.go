// SPDX-License-Identifier: MIT

package rollout

import (
	"fmt"
	"iter"
	"maps"
	"syscall"
	"time"

	"ebpf-upgrader/selector"
)

// Config is what a rollout works with.
type Config struct {
	Limits Limits
	// Signal makes a server upgrade itself.
	Signal syscall.Signal
	// SeesExec says that every exec of a server is observed. Without, an exec shows in the image only.
	SeesExec bool
	// Self is signalled after all others; 0: no process.
	Self selector.PID
	// Moved takes every change of a member's state. It must not call the rollout.
	Moved func(m Member, from State)
}

// Rollout brings the servers of one installed file to it. See the package's documentation for its rules.
type Rollout struct {
	// Surveyed says that all candidates were inspected since the start; before, nothing is known to be complete. Postponed
	// says that a candidate that may belong to it is yet to be inspected.
	IsResynced, HasDeferred bool

	cfg     Config
	number  uint64
	install selector.Install
	started time.Time

	members map[selector.PID]*Member
	// sending has the members with a delivery under way.
	sending map[selector.PID]*Member
	users   map[uint32]*user
	groups  map[Group]*group
	// counts has the members by state, and those that have ended.
	counts map[State]int
	arming int
	// foreign counts deaths after signals of other senders, by sender, and strays those of them that the signal itself ended.
	foreign map[selector.PID]int
	strays  int
}

// New begins a rollout of an installed file.
func New(cfg Config, number uint64, install selector.Install, now time.Time) *Rollout {
	if cfg.Moved == nil {
		cfg.Moved = func(Member, State) {}
	}
	return &Rollout{
		cfg: cfg, number: number, install: install, started: now,
		members: make(map[selector.PID]*Member), sending: make(map[selector.PID]*Member), users: make(map[uint32]*user), groups: make(map[Group]*group),
		counts: make(map[State]int), foreign: make(map[selector.PID]int),
	}
}

// Number is the one of this rollout. Numbers are not used again.
func (r *Rollout) Number() uint64 { return r.number }

// Install is the installed file.
func (r *Rollout) Install() selector.Install { return r.install }

// SetSelf makes a process the one that is signalled after all others.
func (r *Rollout) SetSelf(pid selector.PID) { r.cfg.Self = pid }

// Member is one server of the rollout, nil if it has none with that PID. It must not be changed.
func (r *Rollout) Member(pid selector.PID) *Member { return r.members[pid] }

// Members are all servers of the rollout, in no order. The rollout may be changed meanwhile.
func (r *Rollout) Members() iter.Seq[*Member] { return maps.Values(maps.Clone(r.members)) }

// IsEmpty reports whether the rollout has no member.
func (r *Rollout) IsEmpty() bool { return len(r.members) == 0 }

// Sending notes that the delivery to a pending member is under way. For the limits it counts as signalled. No other member of
// its user may be signalled before EndSending.
func (r *Rollout) Sending(m *Member) { r.sending[m.PID] = m }

// EndSending notes that the delivery has ended. What became of it is noted by another method.
func (r *Rollout) EndSending(m *Member) { delete(r.sending, m.PID) }

// isSendingFor reports whether a delivery to a member of a user is under way.
func (r *Rollout) isSendingFor(u *user) bool {
	for _, m := range r.sending {
		if r.users[m.UID] == u {
			return true
		}
	}
	return false
}

// Drop forgets a member without a word.
func (r *Rollout) Drop(m *Member) {
	r.disarm(m)
	r.tally(m, -1)
	r.counts[m.State]--
	r.remove(m)
}

// Carry takes a member over from another rollout, which it leaves. A server that was signalled for the file before and has
// not exec'd yet will exec what stands there by then: a second signal could reach it in its exec. One that timed out is
// signalled for the new file once the retry time has passed. What else became of a server belongs to the file before: it is
// not taken over, and Carry answers false.
func (r *Rollout) Carry(from *Rollout, m *Member) bool {
	from.Drop(m)
	switch m.State {
	case Signalled, TimedOut:
	case GaveUp:
		m.State = TimedOut
	default:
		return false
	}
	m.Attempts, m.carried, m.Canary, m.execed = 0, true, false, false
	r.add(m)
	return true
}

// add takes a member in as it is.
func (r *Rollout) add(m *Member) {
	m.Rollout = r.number
	r.insert(m)
	r.counts[m.State]++
	r.tally(m, 1)
}

// step moves a member, if the step leads anywhere from its state.
func (r *Rollout) step(m *Member, s Step, now time.Time) {
	from := m.State
	to, moves := from.after(s)
	if !moves {
		return
	}
	if from == Skipped {
		r.disarm(m)
	}
	if from != None {
		r.tally(m, -1)
	}
	if from != None && from != Upgraded { // a session that ends later still counts as upgraded
		r.counts[from]--
	}
	if from == Settling && (to == Upgraded || r.isProof(m, now)) {
		r.group(m.Group).proofs++
	}
	m.State, m.Since, m.BusySince, m.waitsSince = to, now, time.Time{}, time.Time{}
	if to == Settling {
		m.ArmedAt = time.Time{}
	} else {
		m.isOverdue = false
	}
	if to != None {
		r.counts[to]++
	}
	switch to {
	case Crashed:
		r.died(m)
		r.remove(m)
	case None, Exited:
		r.remove(m)
	default:
		r.insert(m)
		r.tally(m, 1)
	}
	if to == Upgraded {
		r.user(m.UID).isProven = true
	}
	r.cfg.Moved(*m, from)
}

// died counts a death against the file, unless the server may have died of an earlier one.
func (r *Rollout) died(m *Member) {
	if m.carried {
		return
	}
	if m.ByOther {
		r.foreign[m.Sender]++
	}
	if m.ByOther && m.isUnhandled {
		r.strays++ // the sender's fault: it says nothing of the file
		return
	}
	u := r.user(m.UID)
	u.deaths++
	u.isFailed = u.isFailed || !u.isProven
	u.why = fmt.Sprintf("server %d died: %s", m.PID, m.Detail)
	if u.deaths >= r.cfg.Limits.MaxFailures {
		u.isHalted = true
	}
}

// Death is a server that died of a file before there was a rollout of it.
type Death struct {
	selector.Identity
	UID    uint32
	Detail string
	// Sender sent the signal; 0: unknown. SentAt is when.
	Sender selector.PID
	SentAt time.Time
	// IsUnhandled says that the signal itself ended it.
	IsUnhandled bool
}

// AddDeath counts the death of a server that the rollout did not have, after the signal of another sender.
func (r *Rollout) AddDeath(d Death, now time.Time) {
	m := &Member{
		PID: d.PID, StartTime: d.StartTime, UID: d.UID, Rollout: r.number, Since: now, Detail: d.Detail,
		ByOther: true, Sender: d.Sender, isUnhandled: d.IsUnhandled, Group: Group{User: d.UID}, State: Crashed,
	}
	r.counts[Crashed]++
	r.died(m)
	r.cfg.Moved(*m, Signalled)
}

// IsHaltedFor reports whether the servers of a user are not signalled any more because servers died.
func (r *Rollout) IsHaltedFor(uid uint32) bool {
	u := r.users[uid]
	return u != nil && u.isHalted || r.isHaltedForAll()
}

// HasHalted reports whether anything halted.
func (r *Rollout) HasHalted() bool {
	if r.isHaltedForAll() {
		return true
	}
	for _, u := range r.users {
		if u.isHalted || u.hasOverdue() {
			return true
		}
	}
	return false
}

// isHaltedForAll reports whether the canaries of too many users failed, and those of none are a proof.
func (r *Rollout) isHaltedForAll() bool {
	failed := 0
	for _, u := range r.users {
		if u.isFailed || u.hasOverdue() {
			failed++
		}
	}
	return failed >= maxUnprovenUsers && !r.isProvenByAny()
}

// isProvenByAny reports whether any user has a proof.
func (r *Rollout) isProvenByAny() bool {
	for _, u := range r.users {
		if u.isProven {
			return true
		}
	}
	return false
}

// Resume lets a halted rollout go on. Its users begin with a canary again.
func (r *Rollout) Resume(now time.Time) {
	if !r.HasHalted() {
		return
	}
	for _, m := range maps.Clone(r.members) {
		if m.isOverdue {
			m.Detail = "not armed, and resumed by an operator"
			if !r.install.Script {
				m.ran = r.install.Image // else the next inspection would take it for one that has just exec'd
			}
			r.step(m, ExecedOther, now)
		}
	}
	for _, u := range r.users {
		*u = user{groups: u.groups}
		for _, g := range u.groups {
			g.isOpen, g.proofs = false, 0
			g.stopWaiting()
		}
	}
}
