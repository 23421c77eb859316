// SPDX-License-Identifier: MIT

package rollout

import (
	"fmt"
	"slices"
)

// State is the state of one server in a rollout. Its text is the same in logs, metrics, JSON and tables.
type State uint8

// The states. None is the state of a server that is no member.
const (
	None State = iota
	// Pending: outdated, and not signalled yet.
	Pending
	// Signalled: the signal was sent, by this service or by another sender.
	Signalled
	// Settling: has exec'd after its signal; must arm itself, and then live for the hold time.
	Settling
	// Upgraded: runs the installed image, is armed and lived for the hold time.
	Upgraded
	// TimedOut: did not exec the installed image in time. It is signalled again after the retry time.
	TimedOut
	// GaveUp: was signalled [Limits.MaxAttempts] times, and still runs the old image.
	GaveUp
	// Crashed: ended because of the signal or of the new binary.
	Crashed
	// Exited: ended for another reason; its session is over.
	Exited
	// Skipped: runs another image than the installed one, and must not be signalled; its verdict says why.
	Skipped
)

var stateWords = [...]string{
	None:      "none",
	Pending:   "pending",
	Signalled: "signalled",
	Settling:  "settling",
	Upgraded:  "upgraded",
	TimedOut:  "timed-out",
	GaveUp:    "gave-up",
	Crashed:   "crashed",
	Exited:    "exited",
	Skipped:   "skipped",
}

// States lists every state that a server can have in a rollout.
func States() []State {
	all := make([]State, 0, len(stateWords)-1)
	for s := Pending; int(s) < len(stateWords); s++ {
		all = append(all, s)
	}
	return all
}

// String returns the state's word.
func (s State) String() string {
	if int(s) < len(stateWords) {
		return stateWords[s]
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// MarshalText returns the state's word.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText parses a state's word.
func (s *State) UnmarshalText(text []byte) error {
	for i, word := range stateWords {
		if word == string(text) {
			*s = State(i)
			return nil
		}
	}
	return fmt.Errorf("parse state %q: no such word", text)
}

// IsPersistent reports whether a server in that state must survive a restart of the service. A second signal could harm
// it, or its image does not show that it is done with this file.
func (s State) IsPersistent() bool {
	switch s {
	case Signalled, Settling, Upgraded, TimedOut, GaveUp:
		return true
	}
	return false
}

// Step is an observation that changes the state of a server.
type Step uint8

// The steps.
const (
	// FoundOutdated: the verdict is [selector.Outdated].
	FoundOutdated Step = iota
	// Rejected: the server runs another image, and the verdict is not to signal it.
	Rejected
	// FoundCurrent: the server runs the installed image, or no longer needs it.
	FoundCurrent
	// FoundUnarmed: the server runs the installed image after another sender's signal, and is not armed yet.
	FoundUnarmed
	// Sent: the signal was sent, by this service or by another sender.
	Sent
	// Execed: the server has exec'd.
	Execed
	// ExecedOther: the server exec'd another file than the installed one.
	ExecedOther
	// Late: the confirm timeout passed.
	Late
	// Exhausted: the confirm timeout passed after the last attempt.
	Exhausted
	// Lived: the server was armed for the hold time.
	Lived
	// Ended: the server ended for another reason than the signal or the new binary.
	Ended
	// Died: the server ended because of the signal or of the new binary.
	Died
)

// Transition is one transition of the state machine.
type Transition struct {
	From State
	Step Step
	To   State
}

// transitions is the whole state machine. A step without a transition from a state does not change that state. It is never
// written.
var transitions = []Transition{
	{None, FoundOutdated, Pending},
	{None, Rejected, Skipped},
	{None, FoundUnarmed, Settling}, // by another sender

	{Pending, Sent, Signalled},
	{Pending, Rejected, Skipped},
	{Pending, FoundCurrent, None},
	{Pending, FoundUnarmed, Settling}, // by another sender
	{Pending, Ended, Exited},

	{Skipped, FoundOutdated, Pending},
	{Skipped, FoundCurrent, None},
	{Skipped, Sent, Signalled}, // by another sender
	{Skipped, Ended, Exited},

	{Signalled, Execed, Settling},
	{Signalled, Late, TimedOut},
	{Signalled, Exhausted, GaveUp},
	{Signalled, Ended, Exited},
	{Signalled, Died, Crashed},

	{Settling, Execed, Settling}, // it must arm itself anew
	{Settling, ExecedOther, TimedOut},
	{Settling, Lived, Upgraded},
	{Settling, Ended, Exited},
	{Settling, Died, Crashed},

	{TimedOut, FoundOutdated, Pending}, // the retry time has passed
	{TimedOut, Sent, Signalled},        // by another sender
	{TimedOut, FoundCurrent, None},
	{TimedOut, FoundUnarmed, Settling}, // by another sender, for this file while it had not settled
	{TimedOut, Execed, Settling},
	{TimedOut, Ended, Exited},
	{TimedOut, Died, Crashed},

	{GaveUp, Sent, Signalled}, // by another sender
	{GaveUp, FoundCurrent, None},
	{GaveUp, Execed, Settling},
	{GaveUp, Ended, Exited},
	{GaveUp, Died, Crashed},

	{Upgraded, Ended, None}, // a session that ends later is no outcome
}

// Transitions returns the whole state machine.
func Transitions() []Transition { return slices.Clone(transitions) }

// after returns the state after a step, and whether there is a transition.
func (s State) after(step Step) (to State, moves bool) {
	for _, t := range transitions {
		if t.From == s && t.Step == step {
			return t.To, true
		}
	}
	return s, false
}
