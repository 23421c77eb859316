// SPDX-License-Identifier: MIT

package rollout

import (
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"

	"ebpf-upgrader/selector"
)

// Group identifies a group. Servers of one user with one mount view and one data directory share an index, as far as
// can be told from outside. The journal has its JSON form.
type Group struct {
	User    uint32        `json:"user"`
	View    selector.View `json:"view"`
	DataDir string        `json:"data_dir"`
}

// GroupOf returns the group of a process. A data directory that is not UTF-8 is quoted: JSON could not keep it apart.
func GroupOf(p selector.Process) Group {
	dir := p.DataDir
	if !utf8.ValidString(dir) {
		dir = strconv.Quote(dir)
	}
	return Group{User: p.Credentials.Owner.UID, View: p.View, DataDir: dir}
}

// Member is one server of a rollout. Its JSON form is a stable interface.
type Member struct {
	PID       selector.PID `json:"pid"`
	StartTime uint64       `json:"start_time"`
	UID       uint32       `json:"uid"`
	// Rollout is the number of its rollout.
	Rollout uint64 `json:"rollout"`
	State   State  `json:"state"`
	// Since is when it entered State.
	Since time.Time `json:"since"`
	// Verdict is that of the last inspection. Detail explains the verdict or the state.
	Verdict selector.Verdict `json:"verdict"`
	Detail  string           `json:"detail"`
	// WorkDir is its working directory at the last inspection, as text of its user; empty: not known.
	WorkDir string `json:"working_directory,omitzero"`
	// Attempts is how often this service signalled it for this file. SignalledAt is when any sender signalled it last.
	Attempts    int       `json:"attempts"`
	SignalledAt time.Time `json:"signalled_at,omitzero"`
	// ByOther says that another sender sent the last signal. Sender is the PID of that sender; 0: unknown.
	ByOther bool         `json:"by_other"`
	Sender  selector.PID `json:"sender,omitzero"`
	// ArmedAt is when an inspection found it armed after its exec; zero: not yet.
	ArmedAt time.Time `json:"armed_at,omitzero"`
	// BusySince is since when it may be signalled and waits because it is busy; zero: it does not wait.
	BusySince time.Time `json:"busy_since,omitzero"`
	// Waited is how long it waited so before its last signal. Overran says that it was still busy then.
	Waited  Seconds `json:"waited_seconds,omitzero"`
	Overran bool    `json:"overran,omitzero"`
	// Late says that it crashed after its upgrade, so that the crash counts against the file.
	Late bool `json:"late,omitzero"`
	// Canary says that its group was not open when it was signalled.
	Canary bool `json:"canary"`
	// Group has the members that share its index.
	Group Group `json:"group"`
	// Ran is the image at the last inspection before the signal. An exec shows as a change of it.
	Ran selector.Image `json:"-"`
	// From is the image at the last signal; unknown: there was none.
	From selector.Image `json:"-"`
	// SignalledAfter is a moment before the last signal, as late as is certain; zero: unknown. The signal did not cause
	// an exec before it.
	SignalledAfter time.Time `json:"-"`
	// Carried says that it was signalled for an earlier file and has not exec'd yet.
	Carried bool `json:"-"`

	// waitsSince is since when it waits because it is busy, or may be; zero: it does not wait.
	waitsSince time.Time
	// rank is its place in the order of the group.
	rank Rank
	// execed says that an event reported an exec since the last signal.
	execed bool
	// gone says that an inspection found it gone, and that its exit is not reported yet.
	gone bool
	// isArming says that it has just started and may still arm itself.
	isArming bool
	// exit is how it ended.
	exit selector.Exit
	// isOverdue says that it was not armed within [Limits.ArmTimeout] after its exec.
	isOverdue bool
}

// Seconds is a duration with a JSON form in seconds.
type Seconds time.Duration

// MarshalJSON returns the number of seconds.
func (s Seconds) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(s).Seconds()) }

// UnmarshalJSON parses a number of seconds.
func (s *Seconds) UnmarshalJSON(text []byte) error {
	var seconds float64
	err := json.Unmarshal(text, &seconds)
	*s = Seconds(seconds * float64(time.Second))
	return err
}

// Rank orders the members of a group: lower ranks are signalled first, equal ranks by PID.
type Rank int8

// The ranks, in order.
const (
	// RankCanary: to be the canary of its group.
	RankCanary Rank = iota - 2
	// RankFirst: upgraded in the last rollout.
	RankFirst
	// RankUsual: was not in the last rollout, or had another outcome.
	RankUsual
	// RankLast: timed out in the last rollout.
	RankLast
)

// NextRank returns the rank of the server in the next rollout, from its state in this one.
func (m *Member) NextRank() Rank {
	switch m.State {
	case Upgraded:
		return RankFirst
	case TimedOut, GaveUp:
		return RankLast
	}
	return RankUsual
}

// Identity returns the identity of the process.
func (m *Member) Identity() selector.Identity {
	return selector.Identity{PID: m.PID, StartTime: m.StartTime}
}

// isReplaced reports whether the process runs another image than before its signal.
func (m *Member) isReplaced(p selector.Process) bool { return p.Image.Known() && p.Image != m.Ran }

// Due returns when the member must be inspected because of its state; zero: never. isPolled says that no event reports
// what the rollout waits for, so that the member must also be inspected before that.
func (m *Member) Due(limits Limits) (at time.Time, isPolled bool) {
	switch m.State {
	case Signalled:
		return m.SignalledAt.Add(limits.ConfirmTimeout), false
	case Settling:
		if m.ArmedAt.IsZero() {
			return m.Since.Add(limits.ArmTimeout), true
		}
		return m.ArmedAt.Add(limits.Hold), false
	case TimedOut:
		return m.SignalledAt.Add(limits.RetryAfter), false
	}
	return time.Time{}, false
}
