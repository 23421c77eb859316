// SPDX-License-Identifier: MIT

package rollout

import (
	"encoding/json"
	"time"

	"ebpf-upgrader/selector"
)

// Group is what the members of a group share: one user, one view of the files of the host and one data directory are one
// index, as far as can be told from outside.
type Group struct {
	User    uint32        `json:"user"`
	View    selector.View `json:"view"`
	DataDir string        `json:"data_dir"`
}

// GroupOf is the group of a process.
func GroupOf(p selector.Process) Group {
	return Group{User: p.Credentials.Owner, View: p.View, DataDir: p.DataDir}
}

// Member is one server of a rollout. Its JSON form is a stable interface.
type Member struct {
	PID       selector.PID `json:"pid"`
	StartTime uint64       `json:"start_time"`
	UID       uint32       `json:"uid"`
	// Rollout is the number of the rollout that it is in.
	Rollout uint64 `json:"rollout"`
	State   State  `json:"state"`
	// Since is when it came into that state.
	Since time.Time `json:"since"`
	// Verdict is that of the last inspection, and Detail says more about it, or about how the server ended.
	Verdict selector.Verdict `json:"verdict"`
	Detail  string           `json:"detail"`
	// Attempts is how often this service signalled it for this file; SignalledAt is when it was signalled last, by any
	// sender.
	Attempts    int       `json:"attempts"`
	SignalledAt time.Time `json:"signalled_at,omitzero"`
	// ByOther says that another sender sent the last signal; Sender is its PID where that is known.
	ByOther bool         `json:"by_other"`
	Sender  selector.PID `json:"sender,omitzero"`
	// ArmedAt is when it was found armed after its exec; zero: not yet.
	ArmedAt time.Time `json:"armed_at,omitzero"`
	// BusySince is since when it could be signalled and is waited for because it is busy; zero: not at all.
	BusySince time.Time `json:"busy_since,omitzero"`
	// Waited is for how long it was waited for so before its last signal, and Overran says that it was still busy then.
	Waited  Seconds `json:"waited_seconds,omitzero"`
	Overran bool    `json:"overran,omitzero"`
	// Canary says that it was signalled while its group was closed.
	Canary bool `json:"canary"`
	// Group is what it shares with others.
	Group Group `json:"-"`

	// waitsSince is since when it is waited for because it is busy, or may be.
	waitsSince time.Time
	// rank says who goes first in a group: lower ranks do.
	rank Rank
	// ran is what it ran when it was signalled, or inspected last before.
	ran selector.Image
	// before is a moment before the last signal, as close to it as is known for sure; zero: unknown.
	before time.Time
	// carried says that it was signalled for an earlier file and has not exec'd yet.
	carried bool
	// execed says that an event told of its exec since the last signal.
	execed bool
	// gone says that an inspection found it gone, and that how it ended is not known yet.
	gone bool
	// isArming says that it has just started, and is inspected until it is armed.
	isArming bool
	// isUnhandled says that the signal itself ended it.
	isUnhandled bool
	// isOverdue says that it was not armed within [ArmTimeout] after its exec.
	isOverdue bool
}

// Seconds is a duration that is a number of seconds in JSON.
type Seconds time.Duration

// MarshalJSON writes the number of seconds.
func (s Seconds) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(s).Seconds()) }

// UnmarshalJSON reads it.
func (s *Seconds) UnmarshalJSON(text []byte) error {
	var seconds float64
	err := json.Unmarshal(text, &seconds)
	*s = Seconds(seconds * float64(time.Second))
	return err
}

// Rank orders the members of a group. Equal ranks go by PID.
type Rank int8

// The ranks, in order.
const (
	// RankCanary: to be the canary of its group.
	RankCanary Rank = iota - 2
	// RankFirst: upgraded in the last rollout.
	RankFirst
	// RankUsual: nothing is known.
	RankUsual
	// RankLast: timed out in the last rollout.
	RankLast
)

// NextRank is the one that the member's state earns it in the next rollout.
func (m *Member) NextRank() Rank {
	switch m.State {
	case Upgraded:
		return RankFirst
	case TimedOut, GaveUp:
		return RankLast
	}
	return RankUsual
}

// Identity names the process.
func (m *Member) Identity() selector.Identity {
	return selector.Identity{PID: m.PID, StartTime: m.StartTime}
}

// SignalledAfter is a moment before the last signal; zero: unknown. An exec from before is not what the signal led to.
func (m *Member) SignalledAfter() time.Time { return m.before }

// Ran is the image that the member ran when it was signalled, or inspected last before.
func (m *Member) Ran() selector.Image { return m.ran }

// IsCarried reports whether the member was signalled for an earlier file and has not exec'd yet.
func (m *Member) IsCarried() bool { return m.carried }

// isReplaced reports whether the process runs another image than when it was signalled.
func (m *Member) isReplaced(p selector.Process) bool { return p.Image.Known() && p.Image != m.ran }

// Due is when the member must be inspected because of its state; zero: not at all. isPolled says that nothing tells of
// what is waited for, so that it is inspected before, too.
func (m *Member) Due(limits Limits) (at time.Time, isPolled bool) {
	switch m.State {
	case Signalled:
		return m.SignalledAt.Add(limits.ConfirmTimeout), false
	case Settling:
		if m.ArmedAt.IsZero() {
			return m.Since.Add(ArmTimeout), true
		}
		return m.ArmedAt.Add(limits.Hold), false
	case TimedOut:
		return m.SignalledAt.Add(limits.RetryAfter), false
	}
	return time.Time{}, false
}
