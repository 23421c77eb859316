// SPDX-License-Identifier: MIT

package controller

import (
	"time"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// The events of the kernel, as selector declares them.
type (
	Kind  = selector.EventKind
	Event = selector.Event
)

// The kinds of events.
const (
	Execed       = selector.EventExec
	Became       = selector.EventExecOther
	Forked       = selector.EventFork
	Ended        = selector.EventExit
	AskedByOther = selector.EventSignal
	Lost         = selector.EventLost
)

// late reports whether an event is of a time that is over: an exec from before the server was asked is not
// what it was asked for, a signal from before it was found outdated was for what it execs by then, and an end from
// before the process began is that of another with its number.
func (s *Service) late(e Event) bool {
	k, m := s.known[e.PID], s.member(e.PID)
	switch e.Kind {
	case Execed, Became:
		return k != nil && k.replaced || m != nil && !e.At.IsZero() && e.At.Before(m.SignalledAfter())
	case AskedByOther:
		return m != nil && !e.At.IsZero() && e.At.Before(m.Since)
	case Ended:
		return k != nil && !e.At.IsZero() && e.At.Before(k.born)
	}
	return false
}

// Reason says why a round was made.
type Reason string

// The reasons, as they stand in logs and metrics.
const (
	ReasonInstall Reason = "install" // another binary stands at the path, or the service started
	ReasonServer  Reason = "server"  // servers started, or it is time to look at some again
	ReasonLoss    Reason = "loss"    // events were lost
	ReasonScan    Reason = "scan"    // the regular look at everybody
	ReasonRetry   Reason = "retry"   // the last round could not be made
	ReasonTrigger Reason = "trigger" // an operator asked for it
)

// Reasons lists every reason.
func Reasons() []Reason {
	return []Reason{ReasonInstall, ReasonServer, ReasonLoss, ReasonScan, ReasonRetry, ReasonTrigger}
}

// Observer is told what the service does. It is called by the goroutine of [Service.Run], which
// waits for it.
type Observer interface {
	// Round tells of a look at all servers, or at some, after it was made: report has their verdicts,
	// and in Plan everybody whose turn is to come. An install that is not ready is told as a round
	// without servers.
	Round(reason Reason, report Report, took time.Duration)
	// Rollout tells that a rollout has begun, has come into another phase, or was superseded.
	Rollout(r rollout.Report)
	// Moved tells that a server has come into another state.
	Moved(m rollout.Member, from rollout.State)
	// Refused tells that a server was not sent the signal although it was due.
	Refused(m rollout.Member, err error)
	// Trouble tells of an error that the service goes on after.
	Trouble(err error)
}
