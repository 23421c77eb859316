// SPDX-License-Identifier: MIT

package stage

// State is the state of one staged path. Its text is the same in answers, events, metrics and the state file.
type State string

// The states of a staged path.
const (
	// Idle: nothing is staged, or the staged file is installed already.
	Idle State = "idle"
	// Wanted: another file than the installed one is staged, and waits for the gate.
	Wanted State = "wanted"
	// Seated: the gate or an operator let this host in; the file is being put in place.
	Seated State = "seated"
	// Activated: the file is in place, and its servers are brought to it.
	Activated State = "activated"
	// Baking: the rollout is settled; late crashes still count.
	Baking State = "baking"
	// Proven: the release has baked.
	Proven State = "proven"
	// Failed: the rollout halted for all users, or upgraded servers crashed. The release is not put in place again.
	Failed State = "failed"
)

// States lists every state.
func States() []State { return []State{Idle, Wanted, Seated, Activated, Baking, Proven, Failed} }
