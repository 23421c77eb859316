// SPDX-License-Identifier: MIT

package fleet

import "time"

// Reason says why a host has to wait.
type Reason string

// The reasons, in the order in which the rule looks for them.
const (
	Granted  Reason = "granted"
	Failed   Reason = "failed"
	Paused   Reason = "paused"
	Pinned   Reason = "pinned"
	Halted   Reason = "halted"
	NotDone  Reason = "not-done"
	Baking   Reason = "baking"
	IdleHost Reason = "idle"
	Ring     Reason = "ring"
	Full     Reason = "full"
)

// Reasons lists every reason to wait.
func Reasons() []Reason {
	return []Reason{Failed, Paused, Pinned, Halted, NotDone, Baking, IdleHost, Ring, Full}
}

// Answer is what the rule says to a host that asks for a seat.
type Answer struct {
	Reason Reason
	// Text is the reason for people.
	Text string
	// Until is when asking again can have another answer. Zero: unknown.
	Until time.Time
	// Wave is the outermost open wave of the release, from 0.
	Wave int
}

// Granted says whether the host has a seat.
func (a Answer) Granted() bool { return a.Reason == Granted }
