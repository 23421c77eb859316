// SPDX-License-Identifier: MIT

package upgrade

import (
	"time"

	"ebpf-upgrader/selector"
)

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
	// Verdict is that of the last look, and Detail says more about it, or about how the server ended.
	Verdict selector.Verdict `json:"verdict"`
	Detail  string           `json:"detail"`
	// Attempts is how often this program asked it for this install; AskedAt is when it was asked last,
	// by whomever.
	Attempts int       `json:"attempts"`
	AskedAt  time.Time `json:"asked_at,omitzero"`
	// ByOther says that somebody else sent the last signal.
	ByOther bool `json:"by_other"`

	// ran is what it ran when it was asked, or looked at last before.
	ran selector.Image
	// before is a moment before the last signal, as close to it as is known for sure; zero is not at all.
	before time.Time
	// carried says that it was asked for an earlier install and has not exec'd yet.
	carried bool
	// execed says that it has since, which is yet to be judged.
	execed bool
	// canary says that it was asked before the others may be.
	canary bool
	// gone says that a look found it gone, and that how it ended is yet to be told.
	gone bool
	// home is the place that it names.
	home *place
	// arming says that it has just started, and is looked at until it is armed.
	arming bool
}

func (m *Member) identity() selector.Identity {
	return selector.Identity{PID: m.PID, StartTime: m.StartTime}
}

// next is when it must be looked at because of its state; zero is not at all.
func (m *Member) next(limits Limits) time.Time {
	switch m.State {
	case Notified:
		return m.AskedAt.Add(limits.ConfirmTimeout)
	case Holding:
		return m.Since.Add(limits.Hold)
	case Stayed:
		return m.AskedAt.Add(limits.RetryAfter)
	}
	return time.Time{}
}

// Phase says how a rollout goes.
type Phase string

// The phases, by their words in logs, metrics, JSON and tables.
const (
	// PhaseIdle: no install is ready, so there is no rollout.
	PhaseIdle Phase = "idle"
	// PhaseCanary: the first servers are asked, alone.
	PhaseCanary Phase = "canary"
	// PhaseRolling: the others are.
	PhaseRolling Phase = "rolling"
	// PhasePaused: an operator said so; nobody is asked.
	PhasePaused Phase = "paused"
	// PhaseHalted: servers died; nobody is asked until another binary lands or an operator resumes, or
	// nobody of the users whose servers did.
	PhaseHalted Phase = "halted"
	// PhaseComplete: nothing is left to be done.
	PhaseComplete Phase = "complete"
)

// Phases lists every phase.
func Phases() []Phase {
	return []Phase{PhaseIdle, PhaseCanary, PhaseRolling, PhasePaused, PhaseHalted, PhaseComplete}
}

// Rollout is how far a rollout has come. Its JSON form is a stable interface.
type Rollout struct {
	// Number counts the rollouts of this service; 0 is none.
	Number  uint64           `json:"number"`
	Install selector.Install `json:"install"`
	Started time.Time        `json:"started"`
	Phase   Phase            `json:"phase"`
	// Servers counts those that are or were in each state. A server that upgraded and whose session
	// ended later still counts as upgraded.
	Servers map[State]int `json:"servers"`
	// Deaths are those that count against this install, and Halted the users whose servers are not asked
	// for it any more.
	Deaths int      `json:"deaths"`
	Halted []uint32 `json:"halted"`
	// Superseded says that another binary has landed since.
	Superseded bool `json:"superseded"`
}

// Total is how many servers the rollout has or had.
func (r Rollout) Total() int {
	n := 0
	for _, count := range r.Servers {
		n += count
	}
	return n
}

// Settled is how many of them nothing is waited for any more.
func (r Rollout) Settled() int {
	n := 0
	for state, count := range r.Servers {
		if !state.active() {
			n += count
		}
	}
	return n
}
