// SPDX-License-Identifier: MIT

package rollout

import (
	"time"

	"ebpf-upgrader/selector"
)

// ledger is what has happened in a rollout: what its members did, and what follows for which users.
type ledger struct {
	roster
	cfg     Config
	number  uint64
	install selector.Install
	started time.Time
	// from is what the first member ran that was signalled. lastOutcome is as in [Report].
	from        selector.Binary
	lastOutcome time.Time

	// foreign counts deaths after signals of other senders, by sender. unhandled counts those of them that the signal
	// itself caused.
	foreign   map[selector.PID]int
	unhandled int
	// abandoned is set once an operator has ended the rollout for all users.
	abandoned *Act
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
