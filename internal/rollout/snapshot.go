// SPDX-License-Identifier: MIT

package rollout

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"time"

	"ebpf-upgrader/selector"
)

// Snapshot is the part of a rollout that must survive the process of the service.
type Snapshot struct {
	Number  uint64
	Install selector.Install
	Started time.Time
	// Users are ascending by UID.
	Users []UserSnapshot
	// Open has the groups that are open.
	Open []Group
	// Foreign counts deaths after signals of other senders, by sender.
	Foreign map[selector.PID]int
	// Abandoned is set once an operator has ended the rollout for all users.
	Abandoned *Act
	// Members are the members that must survive, ascending by PID. [Rollout.Snapshot] leaves them out.
	Members []Member
}

// Snapshots is what must survive of all rollouts of a service.
type Snapshots struct {
	// Number is that of the latest rollout; numbers are not used again.
	Number uint64
	// Rollouts are those that no other has superseded, ascending by Number.
	Rollouts []Snapshot
}

// UserSnapshot is the part of a user that must survive. The journal has its JSON form.
type UserSnapshot struct {
	UID    uint32 `json:"uid"`
	Deaths int    `json:"deaths"`
	// PastDeaths counts those before the latest resume. They halt nothing any more.
	PastDeaths int `json:"past_deaths,omitzero"`
	// Late counts the late crashes since the latest resume.
	Late int `json:"late,omitzero"`
	// IsHalted says that no server of the user is signalled any more, for HaltReason.
	IsHalted   bool      `json:"halted"`
	HaltReason string    `json:"why"`
	HaltedAt   time.Time `json:"halted_at,omitzero"`
	// IsProven says that a server of the user lived for the hold time after it was armed.
	IsProven bool `json:"proven"`
	// IsFailed says that a server of the user died before that.
	IsFailed bool `json:"failed"`
	// IsResumed says that an operator ended a halt of the user, so that one canary at a time goes until IsProven. IsAlone
	// says that this operator did so for this user alone, while the rollout is halted for all others.
	IsResumed bool `json:"resumed,omitzero"`
	IsAlone   bool `json:"alone,omitzero"`
	// LatestDeaths describes the latest deaths, the last one at the end.
	LatestDeaths []ServerDeath `json:"latest_deaths,omitempty"`
	// Abandoned is set once an operator has ended the rollout for the user.
	Abandoned *Act `json:"abandoned,omitempty"`
}

// allDeaths counts the deaths before and after a resume.
func (u UserSnapshot) allDeaths() int { return u.PastDeaths + u.Deaths }

// isZero reports whether nothing needs to survive.
func (u UserSnapshot) isZero() bool { return reflect.DeepEqual(u, UserSnapshot{UID: u.UID}) }

// Snapshot returns the part that must survive, without the members.
func (r *Rollout) Snapshot() Snapshot {
	s := Snapshot{Number: r.number, Install: r.install, Started: r.started, Foreign: maps.Clone(r.foreign), Abandoned: r.abandoned}
	for _, uid := range slices.Sorted(maps.Keys(r.users)) {
		u := r.users[uid]
		if !u.isZero() {
			s.Users = append(s.Users, u.UserSnapshot)
		}
		for _, g := range u.groups {
			if g.isOpen && r.cfg.Limits.Canary > 0 {
				s.Open = append(s.Open, g.key)
			}
		}
	}
	return s
}

// WithMembers returns Snapshot with the members that must survive.
func (r *Rollout) WithMembers() Snapshot {
	s := r.Snapshot()
	for _, m := range r.members {
		if m.State.IsPersistent() {
			s.Members = append(s.Members, *m)
		}
	}
	slices.SortFunc(s.Members, func(a, b Member) int { return cmp.Compare(a.PID, b.PID) })
	return s
}

// Restore returns a rollout from its snapshot, without members. [Rollout.RestoreMember] adds them.
func Restore(cfg Config, s Snapshot) *Rollout {
	r := New(cfg, s.Number, s.Install, s.Started)
	r.abandoned = s.Abandoned
	for _, kept := range s.Users {
		kept.IsHalted = kept.IsHalted || kept.Deaths >= cfg.Limits.MaxFailures
		r.user(kept.UID).UserSnapshot = kept
	}
	for _, key := range s.Open {
		r.group(key).isOpen = true
	}
	maps.Copy(r.foreign, s.Foreign)
	return r
}

// RestoreMember adds a member from its snapshot.
func (r *Rollout) RestoreMember(m Member) *Member {
	m.Rollout, m.From = r.number, m.Ran
	r.ranBefore(&m)
	r.enter(&m)
	return &m
}
