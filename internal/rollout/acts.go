// SPDX-License-Identifier: MIT

package rollout

import (
	"maps"
	"slices"
	"time"

	"ebpf-upgrader/selector"
)

// Act says when, why and by which user an operator acted. The journal and the answers of the service have its JSON form.
type Act struct {
	// UID is the user of the process with that PID, which made the request. PID 0 is not known.
	UID uint32       `json:"uid"`
	PID selector.PID `json:"pid,omitzero"`
	// At is the time of the request.
	At time.Time `json:"at"`
	// Reason is the text that was given; it may be empty.
	Reason string `json:"reason,omitzero"`
}

// Abandonment says that a rollout was ended for good, for all users or for one.
type Abandonment struct {
	// User is nil for all users.
	User *uint32 `json:"user,omitempty"`
	Act
}

// Abandon ends the rollout for good, for one user or, if uid is nil, for all. Servers that were signalled are still
// followed. It reports whether the rollout was under way for them: an earlier Abandon stays as it is.
func (r *Rollout) Abandon(uid *uint32, by Act) bool {
	at := &r.abandoned
	if uid != nil {
		u := r.users[*uid]
		if u == nil {
			return false
		}
		at = &u.Abandoned
	}
	if r.abandoned != nil || *at != nil {
		return false
	}
	*at = &by
	return true
}

// IsAbandoned reports whether the rollout was ended for good, for any user.
func (r *Rollout) IsAbandoned() bool { return len(r.abandonments()) > 0 }

// abandonments lists what was abandoned, all users first, then ascending by user.
func (l *ledger) abandonments() (all []Abandonment) {
	if l.abandoned != nil {
		all = append(all, Abandonment{Act: *l.abandoned})
	}
	for _, uid := range slices.Sorted(maps.Keys(l.users)) {
		if by := l.users[uid].Abandoned; by != nil {
			all = append(all, Abandonment{&uid, *by})
		}
	}
	return all
}

// isAbandoned reports whether the rollout was abandoned for the users of all members that are left to be signalled or
// awaited.
func (l *ledger) isAbandoned() bool {
	hasActive := false
	for _, g := range l.groups {
		switch {
		case g.counts.active() == 0:
		case l.users[g.key.User].Abandoned == nil:
			return l.abandoned != nil
		default:
			hasActive = true
		}
	}
	return hasActive || l.abandoned != nil
}

// isAbandonedFor reports whether the rollout was ended for good for a user.
func (l *ledger) isAbandonedFor(u *user) bool { return l.abandoned != nil || u.Abandoned != nil }

// IsStoppedFor reports whether the servers of a user are no longer signalled: servers died, or an operator abandoned the
// rollout.
func (r *Rollout) IsStoppedFor(uid uint32) bool {
	u := r.users[uid]
	if u == nil {
		u = &user{}
	}
	return r.isAbandonedFor(u) || r.isHaltedFor(u)
}

// Resume ends the halts of one user or, if uid is nil, of all, and returns how many users had one. Each of these users
// begins with a single canary again, and the next goes when that has proven the file. A resume does not undo
// [Rollout.Abandon].
func (r *Rollout) Resume(uid *uint32, now time.Time) (resumed int) {
	isAlone := uid != nil && r.isHaltedForAll()
	var halted []*user
	for _, u := range r.users {
		isMeant := uid == nil || u.UID == *uid
		if isMeant && !r.isAbandonedFor(u) && (r.isHaltedFor(u) || u.overdue > 0) {
			halted = append(halted, u)
		}
	}
	for _, u := range halted {
		r.endHalt(u, isAlone, now)
	}
	return len(halted)
}

// endHalt resumes the rollout for a user. isAlone says that it stays halted for the other users.
func (l *ledger) endHalt(u *user, isAlone bool, now time.Time) {
	isFailed := isAlone && (u.IsFailed || u.overdue > 0)
	for _, m := range maps.Clone(l.members) {
		if m.isOverdue && m.Group.User == u.UID {
			m.Detail = "not armed, and resumed by an operator"
			if !l.install.Script {
				m.Ran = l.install.Image // or else the next inspection would find a new exec
			}
			l.step(m, ExecedOther, now)
		}
	}
	*u = user{
		UserSnapshot: UserSnapshot{
			UID: u.UID, PastDeaths: u.allDeaths(), IsFailed: isFailed, IsResumed: true, IsAlone: isAlone,
		},
		groups: u.groups, settling: u.settling, overdue: u.overdue,
	}
	for _, g := range u.groups {
		g.isOpen, g.proofs = false, 0
		g.resetWaits()
	}
}

// canaries returns how many members of a user's group must prove the file. A user that was resumed begins with one.
func (l *ledger) canaries(u *user) int {
	if u.IsResumed && !u.IsProven {
		return 1
	}
	return l.cfg.Limits.Canary
}

// nextAfterResume returns the member that goes first when the halts of a user end, as far as is known now: a busy one may let
// another go first. It is 0 if no member of the user is pending.
func (l *ledger) nextAfterResume(u *user) selector.PID {
	for _, g := range byUrgency(u.groups) {
		l.sort(g)
		for _, m := range g.queue {
			if l.isQueued(m, g) {
				return m.PID
			}
		}
	}
	return 0
}

// IsStoppedFor reports whether the servers of a user are no longer signalled, as [Rollout.IsStoppedFor].
func (r Report) IsStoppedFor(uid uint32) bool {
	return r.Phase == PhaseHalted || slices.ContainsFunc(r.Halts, func(h Halt) bool { return h.UID == uid }) ||
		slices.ContainsFunc(r.Abandoned, func(a Abandonment) bool { return a.User == nil || *a.User == uid })
}
