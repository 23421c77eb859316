// SPDX-License-Identifier: MIT

package selector

import (
	"fmt"
	"time"
)

// EventKind says what a process did. Its text is the same in logs and metrics.
type EventKind uint8

// The kinds of events. The zero EventKind is none. All but EventLost have the numbers of enum event_kind in
// bpf/exec_tracker.c.
const (
	// EventExec: a process exec'd as a server, whether it was one before or not.
	EventExec EventKind = iota + 1
	// EventFork: a server forked a child that has not exec'd.
	EventFork
	// EventExecOther: a server exec'd a program that is none. A script that execs the server is such a program.
	EventExecOther
	// EventExit: the last thread of a server has exited.
	EventExit
	// EventSignal: a server was sent the signal. Of several within a second, only the first is reported.
	EventSignal
	// EventLost: earlier events were lost. Their number and their processes are unknown.
	EventLost
)

var eventWords = [...]string{
	EventExec:      "exec",
	EventFork:      "fork",
	EventExecOther: "exec-other",
	EventExit:      "exit",
	EventSignal:    "signal",
	EventLost:      "lost",
}

// EventKinds lists every kind.
func EventKinds() []EventKind {
	all := make([]EventKind, 0, len(eventWords)-1)
	for k := EventExec; int(k) < len(eventWords); k++ {
		all = append(all, k)
	}
	return all
}

// String returns the kind's word.
func (k EventKind) String() string {
	if k > 0 && int(k) < len(eventWords) {
		return eventWords[k]
	}
	return fmt.Sprintf("event(%d)", uint8(k))
}

// Event is a hint that a process changed. Only an inspection tells what it is now: events may be read late.
type Event struct {
	Kind EventKind
	// PID is 0 for EventLost.
	PID PID
	// At is the time of the event by the clock of [time.Now], never earlier than the event itself. It is zero where
	// that is unknown, as for EventLost.
	At time.Time
	// Exit is how the process ended, for EventExit.
	Exit Exit
	// Sender is the process that ran when the signal was sent, for EventSignal; 0: it is not visible. For a signal of
	// the kernel's own, such as a timer's, it is the process that was interrupted.
	Sender PID
}
