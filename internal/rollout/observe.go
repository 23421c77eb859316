// SPDX-License-Identifier: MIT

package rollout

import (
	"cmp"
	"fmt"
	"time"

	"ebpf-upgrader/selector"
)

// Observe takes the inspection of a living server. rank is used if the server is no member yet.
func (r *Rollout) Observe(p selector.Process, d selector.Decision, rank Rank, now time.Time) {
	m := r.memberOf(p, rank)
	m.gone, m.WorkDir = false, cmp.Or(p.WorkDir, m.WorkDir)
	if m.State == Pending && r.ObserveForeign(p, d, 0, now, now) {
		return
	}
	o := observation{&r.ledger, m, p, d, now}
	switch m.State {
	case None, Pending, Skipped:
		m.Ran = p.Image
		r.regroup(m, GroupOf(p))
		o.unsignalled()
	case Signalled, TimedOut, GaveUp:
		if m.Carried && (m.execed || m.isReplaced(p)) {
			r.Drop(m)
			r.Observe(p, d, rank, now) // as a server that was not signalled
			return
		}
		o.signalled()
	case Settling:
		o.settling()
	}
}

// ObserveUnreadable takes an inspection that could not read the server. A pending member must be inspected again before
// it is signalled.
func (r *Rollout) ObserveUnreadable(m *Member, d selector.Decision, now time.Time) {
	if m.State == Pending {
		m.setVerdict(d)
		r.step(m, Rejected, now)
	}
}

// setArmed sets when a settling member was armed; zero: it is not. An armed member is not overdue.
func (l *ledger) setArmed(m *Member, at time.Time) {
	if m.ArmedAt.Equal(at) {
		return
	}
	m.ArmedAt = at
	if !at.IsZero() {
		l.endOverdue(m)
		m.Detail = "armed"
	}
	l.cfg.Moved(*m, m.State)
}

// checkOverdue marks a settling member as overdue if it is not armed within [Limits.ArmTimeout]. That halts its group.
func (l *ledger) checkOverdue(m *Member, now time.Time) {
	if m.isOverdue || m.State != Settling || !m.ArmedAt.IsZero() || now.Sub(m.Since) < l.cfg.Limits.ArmTimeout {
		return
	}
	l.countOverdue(m, 1)
	m.Detail = fmt.Sprintf("not armed after %s", l.cfg.Limits.ArmTimeout)
	l.cfg.Moved(*m, m.State)
}

func (m *Member) setVerdict(d selector.Decision) {
	m.Verdict, m.Detail = d.Verdict, d.Detail
}

// Sent records that this service sent the signal to a pending member. before is a moment right before the send. ran is
// the image of the member then.
func (r *Rollout) Sent(m *Member, ran selector.Image, before, now time.Time) {
	u, g := r.user(m.UID), r.group(m.Group)
	r.prove(g, now)
	m.Ran, m.SignalledAfter = ran, before
	m.recordWait(now)
	m.ByOther, m.Sender, m.SignalledAt, m.Carried, m.execed = false, 0, now, false, false
	m.Canary = !g.isOpen
	m.Attempts++
	if m.Canary {
		if u.firstCanaryAt.IsZero() {
			u.firstCanaryAt = now
		}
		u.lastCanaryAt = now
	}
	r.step(m, Sent, now)
}

// SentByOther records that another sender sent the signal at the given time. sender is 0 if it is unknown.
func (r *Rollout) SentByOther(m *Member, sender selector.PID, at, now time.Time) {
	switch m.State {
	case Signalled, Settling, Upgraded:
		return
	}
	m.SignalledAfter = at
	m.ByOther, m.Sender, m.SignalledAt, m.Carried, m.execed, m.Canary = true, sender, at, false, false, false
	r.step(m, Sent, now)
}

// Execed takes the event that a server has exec'd. A member that was carried over may have exec'd the earlier file. Its
// state changes only at the next inspection, and the rollout is not complete before that.
func (r *Rollout) Execed(pid selector.PID, now time.Time) {
	m := r.members[pid]
	if m == nil {
		return
	}
	m.execed = true
	if !m.Carried {
		r.step(m, Execed, now)
	}
}

// Vanished records that an inspection found a member gone. The event of its exit has not been read yet.
func (r *Rollout) Vanished(pid selector.PID) {
	if m := r.members[pid]; m != nil {
		m.gone = true
	}
}

// Ended takes the exit of a process.
func (r *Rollout) Ended(pid selector.PID, exit selector.Exit, now time.Time) {
	m := r.members[pid]
	if m == nil {
		return
	}
	r.prove(r.group(m.Group), now) // a proof remains valid after the exit
	s := r.stepOf(m, exit)
	m.exit = exit
	if m.State == Signalled || m.State == Settling || s == Died {
		m.Detail = describeExit(exit, r.cfg.Signal)
		if s == Died && m.State == Settling && m.ArmedAt.IsZero() && exit.IsClean() {
			m.Detail += " before it was armed"
		}
	}
	if r.isLate(m, now) {
		r.crashedLate(m, now)
	}
	r.step(m, s, now)
}

// Refused records that the signal could not be sent.
func (r *Rollout) Refused(m *Member, err error, now time.Time) {
	m.Detail = err.Error()
	r.step(m, Rejected, now)
}

// Reassign records that a member belongs to another install now.
func (r *Rollout) Reassign(m *Member, now time.Time) {
	m.Detail = "names another install now"
	r.step(m, Ended, now)
}

// SetArming sets whether a skipped server has just started and may still arm itself. Until then, the rollout is not
// complete.
func (r *Rollout) SetArming(pid selector.PID, isArming bool) {
	m := r.members[pid]
	switch {
	case m == nil:
	case !isArming:
		r.disarm(m)
	case m.State == Skipped && !m.isArming:
		m.isArming = true
		r.armingCount++
	}
}
