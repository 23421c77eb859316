// SPDX-License-Identifier: MIT

//go:build linux

package testfleet

import (
	"time"

	"ebpf-upgrader/selector"
)

// Kind says what happened.
type Kind string

// The kinds of events, roughly in the order of a server's life.
const (
	// Started: an image began to run, with the default action in force. It has Image and Args.
	Started Kind = "started"
	// Daemonised: a forked child, whose number is PID, is the server from now on.
	Daemonised Kind = "daemonised"
	// Forked: the server has a forked child, whose number is Child.
	Forked Kind = "forked"
	// Armed: the handler is there.
	Armed Kind = "armed"
	// Unarmed: there will be no handler in this generation.
	Unarmed Kind = "unarmed"
	// Signalled: SIGUSR1 arrived; Signals is how often it did in this generation.
	Signalled Kind = "signalled"
	// Draining: running calls are waited for.
	Draining Kind = "draining"
	// Calling: a call of the tool "wait" runs.
	Calling Kind = "calling"
	// Stayed: a call ran for too long, and the server goes on as it was.
	Stayed Kind = "stayed"
	// Exec: Path is about to be exec'd by the thread Thread.
	Exec Kind = "exec"
	// ExecFailed: that did not work, Why says the cause, and the server ends with exit code 70.
	ExecFailed Kind = "exec-failed"
	// ChildEnded: the forked child Child is dead; Why says how.
	ChildEnded Kind = "child-ended"
	// Exiting: the server ends because of Why.
	Exiting Kind = "exiting"
)

// Event is one line that a server reports. Fields that its Kind does not name are zero.
type Event struct {
	Kind Kind `json:"event"`
	// PID and StartTime name the server; see [selector.Identity].
	PID       selector.PID `json:"pid,omitzero"`
	StartTime uint64       `json:"start_time,omitzero"`
	// Generation is the number of execs since the start.
	Generation int `json:"generation"`
	// Image is the file that runs.
	Image   selector.Image `json:"image,omitzero"`
	Args    []string       `json:"args,omitzero"`
	Signals int            `json:"signals,omitzero"`
	Path    string         `json:"path,omitzero"`
	Thread  int            `json:"thread,omitzero"`
	Child   selector.PID   `json:"child,omitzero"`
	Why     string         `json:"why,omitzero"`
	// At is when the control side received the event.
	At time.Time `json:"-"`
}
