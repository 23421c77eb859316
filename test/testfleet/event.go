// SPDX-License-Identifier: MIT

//go:build linux

package testfleet

import (
	"time"

	"ebpf-upgrader/selector"
)

// Kind is the kind of an [Event].
type Kind string

// The kinds of events, roughly in their order.
const (
	// Started: an image began to run, with the default action in force. Image and Args are set.
	Started Kind = "started"
	// Daemonised: the forked child PID is the server from now on.
	Daemonised Kind = "daemonised"
	// Forked: the server has the forked child Child.
	Forked Kind = "forked"
	// Armed: the handler is installed.
	Armed Kind = "armed"
	// Unarmed: no handler will be installed in this generation.
	Unarmed Kind = "unarmed"
	// Signalled: SIGUSR1 arrived; Signals counts the signals of this generation.
	Signalled Kind = "signalled"
	// Draining: the server waits for running calls.
	Draining Kind = "draining"
	// Calling: a call of the tool "wait" runs.
	Calling Kind = "calling"
	// Aborted: a call ran for too long, so the server does not exec.
	Aborted Kind = "aborted"
	// Exec: the thread Thread is about to exec Path.
	Exec Kind = "exec"
	// ExecFailed: the exec failed because of Why, and the server ends with exit code 70.
	ExecFailed Kind = "exec-failed"
	// ChildEnded: the forked child Child has ended; Why says how.
	ChildEnded Kind = "child-ended"
	// Exiting: the server ends because of Why.
	Exiting Kind = "exiting"
)

// Event is one line that a server reports. Fields that its Kind does not mention are zero.
type Event struct {
	Kind Kind `json:"event"`
	// PID and StartTime identify the server; see [selector.Identity].
	PID       selector.PID `json:"pid,omitzero"`
	StartTime uint64       `json:"start_time,omitzero"`
	// Generation is the number of execs since the start.
	Generation int `json:"generation"`
	// Image is the file that the server runs.
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
