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

// Config holds the constants of a rollout.
type Config struct {
	Limits Limits
	// Signal is the signal that makes a server upgrade itself.
	Signal syscall.Signal
	// SeesExec says that every exec of a server is reported by an event. If not, only a changed image shows an exec.
	SeesExec bool
	// Self is signalled after all others; 0: no process.
	Self selector.PID
	// BuildOf returns what the program of an image says of itself, as far as that is known without an open. It may be nil.
	BuildOf func(selector.Image) selector.Build
	// IsPaused reports whether an operator paused the servers of a user; nil: of none.
	IsPaused func(uid uint32) bool
	// Moved is called at every change of a member's state. It must not call the rollout.
	Moved func(m Member, from State)
}

// Rollout brings the servers of one installed file to that file. The package's documentation has its rules.
type Rollout struct {
	// IsResynced says that all candidates were inspected since the start, and HasDeferred that a candidate which may
	// belong to the rollout was not inspected yet. The caller sets both; the rollout is complete only after such
	// inspections.
	IsResynced, HasDeferred bool

	ledger
}

// New begins a rollout of an installed file.
func New(cfg Config, number uint64, install selector.Install, now time.Time) *Rollout {
	if cfg.Moved == nil {
		cfg.Moved = func(Member, State) {}
	}
	if cfg.BuildOf == nil {
		cfg.BuildOf = func(selector.Image) selector.Build { return selector.Build{} }
	}
	if cfg.IsPaused == nil {
		cfg.IsPaused = func(uint32) bool { return false }
	}
	return &Rollout{ledger: ledger{
		roster: newRoster(), cfg: cfg, number: number, install: install, started: now,
		foreign: make(map[selector.PID]int),
	}}
}

// Number returns the number of this rollout. Numbers are not reused.
func (r *Rollout) Number() uint64 { return r.number }

// Install returns the installed file.
func (r *Rollout) Install() selector.Install { return r.install }

// SetSelf sets [Config.Self].
func (r *Rollout) SetSelf(pid selector.PID) { r.cfg.Self = pid }

// SetLimits sets [Config.Limits]. What has happened stays: a halt is not ended by it.
func (r *Rollout) SetLimits(l Limits) { r.cfg.Limits = l }

// Member returns the member with that PID, or nil. The caller must not change it.
func (r *Rollout) Member(pid selector.PID) *Member { return r.members[pid] }

// Members iterates over all members, in no order. The rollout may be changed meanwhile.
func (r *Rollout) Members() iter.Seq[*Member] { return maps.Values(maps.Clone(r.members)) }

// IsEmpty reports whether the rollout has no member.
func (r *Rollout) IsEmpty() bool { return len(r.members) == 0 }

// Sending records that the delivery to a pending member is under way. The member counts as signalled in all limits until
// EndSending. Before its group is open, no other member of its user may be signalled; then, a few of them.
func (r *Rollout) Sending(m *Member) { r.sending[m.PID] = m }

// EndSending records that the delivery has ended. Another method records its outcome.
func (r *Rollout) EndSending(m *Member) { delete(r.sending, m.PID) }

// Drop removes a member without a call of [Config.Moved].
func (r *Rollout) Drop(m *Member) {
	r.endOverdue(m)
	r.leave(m)
	r.forgetIfEmpty(r.group(m.Group))
}

// Carry moves a member from an earlier rollout to this one. A server that was signalled for the earlier file and has
// not exec'd yet will exec the file that is installed by then. So it stays signalled: a second signal could reach it in
// its exec. A member that timed out is signalled for the new file after the retry time. Every other outcome belongs to
// the earlier file: the member is only removed there, and Carry returns false.
func (r *Rollout) Carry(from *Rollout, m *Member) bool {
	from.Drop(m)
	switch m.State {
	case Signalled, TimedOut:
	case GaveUp:
		m.State = TimedOut
	default:
		return false
	}
	m.Attempts, m.Carried, m.Canary, m.execed, m.Rollout = 0, true, false, false, r.number
	r.enter(m)
	return true
}

// step changes the state of a member, if its state has a transition for the step.
func (l *ledger) step(m *Member, s Step, now time.Time) {
	from := m.State
	to, moves := from.after(s)
	if !moves {
		return
	}
	var execedAt time.Time
	if from == Settling {
		execedAt = m.Since
	}
	g := l.group(m.Group)
	if from != None {
		l.leave(m)
	}
	if from == Upgraded {
		l.counts[Upgraded]++ // a session that ends later still counts as upgraded
	}
	if from == Settling && (to == Upgraded || l.isProof(m, now)) {
		g.proofs++
	}
	if to == Settling {
		m.ArmedAt = time.Time{}
	} else {
		l.endOverdue(m)
	}
	m.State, m.Since, m.BusySince, m.waitsSince = to, now, time.Time{}, time.Time{}
	switch to {
	case Upgraded, GaveUp, Crashed:
		l.lastOutcome = now
	case Signalled:
		m.From = m.Ran
		l.ranBefore(m)
	case Pending:
		l.ranBefore(m)
	}
	switch to {
	case None:
	case Crashed:
		l.died(m, execedAt)
		fallthrough
	case Exited:
		l.counts[to]++
	default:
		l.enter(m)
	}
	l.forgetIfEmpty(g)
	if to == Upgraded {
		l.user(m.UID).IsProven = true
	}
	l.cfg.Moved(*m, from)
}

// ranBefore takes what an outdated member ran, if that is not known of another one.
func (l *ledger) ranBefore(m *Member) {
	if !l.from.Known() && m.Ran.Known() && m.Ran != l.install.Image {
		l.from = selector.Binary{Image: m.Ran, Build: l.cfg.BuildOf(m.Ran)}
	}
}

// died counts a death, unless an earlier file may have caused it. execedAt is as in [ServerDeath].
func (l *ledger) died(m *Member, execedAt time.Time) {
	if m.Carried {
		return
	}
	if m.ByOther {
		l.foreign[m.Sender]++
	}
	if m.ByOther && isUnhandled(m.exit, l.cfg.Signal) {
		l.unhandled++ // caused by the sender, not by the file
		return
	}
	u := l.user(m.UID)
	u.Deaths++
	u.IsFailed, u.IsAlone = u.IsFailed || !u.IsProven, false
	u.addDeath(m, execedAt)
	u.HaltReason = fmt.Sprintf("server %d died: %s", m.PID, m.Detail)
	if u.Deaths >= l.cfg.Limits.MaxFailures {
		u.IsHalted, u.HaltedAt = true, m.Since
	}
}

// Death is the death of a server that was no member: another sender's signal came before the rollout began.
type Death struct {
	selector.Identity
	UID uint32
	// Exit is how it ended, and WorkDir its working directory at its last inspection.
	Exit    selector.Exit
	WorkDir string
	// Sender sent the signal; 0: unknown. SentAt is when.
	Sender selector.PID
	SentAt time.Time
}

// AddDeath counts the death of a server that was no member, after the signal of another sender.
func (r *Rollout) AddDeath(d Death, now time.Time) {
	m := &Member{
		PID: d.PID, StartTime: d.StartTime, UID: d.UID, Rollout: r.number, Since: now,
		Detail: describeExit(d.Exit, r.cfg.Signal), WorkDir: d.WorkDir, ByOther: true, Sender: d.Sender, exit: d.Exit,
		Group: Group{User: d.UID}, State: Crashed,
	}
	r.counts[Crashed]++
	r.died(m, time.Time{})
	r.cfg.Moved(*m, Signalled)
}

// isHaltedFor reports whether the servers of a user are no longer signalled because servers died.
func (l *ledger) isHaltedFor(u *user) bool { return u.IsHalted || l.isHaltedForAll() && !u.IsAlone }

// hasHalted reports whether any user or group is halted by itself.
func (l *ledger) hasHalted() bool {
	for _, u := range l.users {
		if (u.IsHalted || u.overdue > 0) && !l.isAbandonedFor(u) {
			return true
		}
	}
	return false
}

// isHaltedForAll reports whether the canaries of maxUnprovenUsers users failed, and no user has a proof.
func (l *ledger) isHaltedForAll() bool {
	failed := 0
	for _, u := range l.users {
		if u.IsFailed || u.overdue > 0 {
			failed++
		}
	}
	return failed >= maxUnprovenUsers && !l.isProvenByAny()
}

// isProvenByAny reports whether any user has a proof.
func (l *ledger) isProvenByAny() bool {
	for _, u := range l.users {
		if u.IsProven {
			return true
		}
	}
	return false
}
