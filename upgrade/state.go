// SPDX-License-Identifier: MIT

package upgrade

import "fmt"

// State says where one server stands in a rollout. Its text is the same in logs, metrics, JSON and
// tables.
type State uint8

// The states. None is for a server that the rollout does not know.
const (
	None State = iota
	// Pending: outdated and ready; its turn has not come.
	Pending
	// Notified: the signal was sent, by us or by somebody else.
	Notified
	// Holding: has exec'd since, and must still be there when the hold time is over.
	Holding
	// Upgraded: exec'd and stayed.
	Upgraded
	// Stayed: the confirm timeout passed on the old image; it is asked again after the retry time.
	Stayed
	// Staying: was asked as often as it is allowed to be, and still runs the old image.
	Staying
	// Died: ended between the signal and the end of the hold time, with a code other than 0 or by a
	// signal.
	Died
	// Left: ended otherwise; its session is over.
	Left
	// Skipped: runs another image than the installed one, but must not be asked; its verdict says why.
	Skipped
)

var stateWords = [...]string{
	None:     "none",
	Pending:  "pending",
	Notified: "notified",
	Holding:  "holding",
	Upgraded: "upgraded",
	Stayed:   "stayed",
	Staying:  "staying",
	Died:     "died",
	Left:     "left",
	Skipped:  "skipped",
}

// States lists every state that a server can have in a rollout.
func States() []State {
	all := make([]State, 0, len(stateWords)-1)
	for s := Pending; int(s) < len(stateWords); s++ {
		all = append(all, s)
	}
	return all
}

// String is the state's word.
func (s State) String() string {
	if int(s) < len(stateWords) {
		return stateWords[s]
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// MarshalText gives the state's word.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes a state's word.
func (s *State) UnmarshalText(text []byte) error {
	for i, word := range stateWords {
		if word == string(text) {
			*s = State(i)
			return nil
		}
	}
	return fmt.Errorf("parse state %q: no such word", text)
}

// active reports whether the rollout still waits for something of the server.
func (s State) active() bool {
	return s == Pending || s == Notified || s == Holding || s == Stayed
}

// Step is what makes a server go from one state to the next.
type Step uint8

// The steps.
const (
	// FoundOutdated: a look found that it can be asked.
	FoundOutdated Step = iota
	// TurnedDown: a look found that it runs another image, but must not be asked.
	TurnedDown
	// FoundCurrent: a look found it on the installed image, or not in need of it any more.
	FoundCurrent
	// Asked: the signal was sent.
	Asked
	// Exec: it exec'd.
	Exec
	// TimedOut: the confirm timeout passed.
	TimedOut
	// GaveUp: the confirm timeout passed, and it is not to be asked again.
	GaveUp
	// Held: the hold time passed.
	Held
	// Quit: it ended as sessions do.
	Quit
	// Crashed: it ended because of what it was asked for; see [Exit].
	Crashed
)

var stepWords = [...]string{
	FoundOutdated: "found outdated",
	TurnedDown:    "turned down",
	FoundCurrent:  "found current",
	Asked:         "asked",
	Exec:          "exec",
	TimedOut:      "timed out",
	GaveUp:        "gave up",
	Held:          "held",
	Quit:          "quit",
	Crashed:       "crashed",
}

// String is the step's words.
func (s Step) String() string {
	if int(s) < len(stepWords) {
		return stepWords[s]
	}
	return fmt.Sprintf("step(%d)", uint8(s))
}

// Transition is one arrow of the state machine.
type Transition struct {
	From State
	Step Step
	To   State
}

// Transitions is the whole machine. A step that a state does not have here changes nothing.
func Transitions() []Transition {
	return []Transition{
		{None, FoundOutdated, Pending},
		{None, TurnedDown, Skipped},

		{Pending, Asked, Notified},
		{Pending, TurnedDown, Skipped},
		{Pending, FoundCurrent, None},
		{Pending, Quit, Left},

		{Skipped, FoundOutdated, Pending},
		{Skipped, FoundCurrent, None},
		{Skipped, Quit, Left},

		{Notified, Exec, Holding},
		{Notified, TimedOut, Stayed},
		{Notified, GaveUp, Staying},
		{Notified, Quit, Left},
		{Notified, Crashed, Died},

		{Holding, Exec, Holding}, // the hold time begins anew
		{Holding, Held, Upgraded},
		{Holding, Quit, Left},
		{Holding, Crashed, Died},

		{Stayed, FoundOutdated, Pending}, // the retry time has passed
		{Stayed, Exec, Holding},
		{Stayed, Quit, Left},
		{Stayed, Crashed, Died},

		{Staying, Exec, Holding},
		{Staying, Quit, Left},
		{Staying, Crashed, Died},

		{Upgraded, Quit, None}, // a session that ends later is no outcome
	}
}

// arrows is the table for looking steps up.
var arrows = func() map[[2]uint8]State {
	to := make(map[[2]uint8]State)
	for _, t := range Transitions() {
		to[[2]uint8{uint8(t.From), uint8(t.Step)}] = t.To
	}
	return to
}()

// after is the state that step leads to, if it leads anywhere.
func (s State) after(step Step) (to State, moves bool) {
	to, moves = arrows[[2]uint8{uint8(s), uint8(step)}]
	return to, moves
}
