// SPDX-License-Identifier: MIT

package rollout

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"ebpf-upgrader/selector"
)

// Snapshot is what must survive the process of a rollout besides its members.
type Snapshot struct {
	Number  uint64
	Install selector.Install
	Started time.Time
	// Users are ascending by UID.
	Users []UserSnapshot
	// Open are the groups whose canaries have proven the file.
	Open []Group
	// Foreign counts deaths after signals of other senders, by sender.
	Foreign map[selector.PID]int
	// Members are those to be kept, ascending by PID.
	Members []MemberSnapshot
}

// Snapshots is what must survive of all rollouts of a service.
type Snapshots struct {
	// Number is that of the latest rollout; numbers are not used again.
	Number uint64
	// Rollouts are those that no other has superseded, ascending by Number.
	Rollouts []Snapshot
}

// UserSnapshot is what must survive of one user.
type UserSnapshot struct {
	UID      uint32
	Deaths   int
	IsHalted bool
	Why      string
	IsProven bool
	IsFailed bool
}

// MemberSnapshot is what must survive of one member.
type MemberSnapshot struct {
	Member
	Group   Group
	Ran     selector.Image
	Carried bool
}

// Snapshot leaves out the members.
func (r *Rollout) Snapshot() Snapshot {
	s := Snapshot{Number: r.number, Install: r.install, Started: r.started, Foreign: maps.Clone(r.foreign)}
	for _, uid := range slices.Sorted(maps.Keys(r.users)) {
		u := r.users[uid]
		kept := UserSnapshot{uid, u.deaths, u.isHalted, u.why, u.isProven, u.isFailed}
		if kept != (UserSnapshot{UID: uid}) {
			s.Users = append(s.Users, kept)
		}
		for _, g := range u.groups {
			if g.isOpen && r.cfg.Limits.Canary > 0 {
				s.Open = append(s.Open, g.key)
			}
		}
	}
	return s
}

// WithMembers is Snapshot with the members that must be kept.
func (r *Rollout) WithMembers() Snapshot {
	s := r.Snapshot()
	for _, m := range r.members {
		if m.State.IsPersistent() {
			s.Members = append(s.Members, m.Snapshot())
		}
	}
	slices.SortFunc(s.Members, func(a, b MemberSnapshot) int { return cmp.Compare(a.PID, b.PID) })
	return s
}

// Snapshot is what must survive of a member.
func (m *Member) Snapshot() MemberSnapshot {
	return MemberSnapshot{Member: *m, Group: m.Group, Ran: m.ran, Carried: m.carried}
}

// Restore is a rollout as it was, without its members.
func Restore(cfg Config, s Snapshot) *Rollout {
	r := New(cfg, s.Number, s.Install, s.Started)
	for _, kept := range s.Users {
		*r.user(kept.UID) = user{
			deaths: kept.Deaths, isHalted: kept.IsHalted || kept.Deaths >= cfg.Limits.MaxFailures, why: kept.Why,
			isProven: kept.IsProven, isFailed: kept.IsFailed,
		}
	}
	for _, key := range s.Open {
		r.group(key).isOpen = true
	}
	maps.Copy(r.foreign, s.Foreign)
	return r
}

// RestoreMember takes a member in that was kept.
func (r *Rollout) RestoreMember(kept MemberSnapshot) *Member {
	m := kept.Member
	m.Group, m.ran, m.carried = kept.Group, kept.Ran, kept.Carried
	r.add(&m)
	return &m
}
