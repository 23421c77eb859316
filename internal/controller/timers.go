// SPDX-License-Identifier: MIT

package controller

import (
	"time"

	"ebpf-upgrader/internal/registry"
	"ebpf-upgrader/internal/schedule"
	"ebpf-upgrader/selector"
)

// taskKind says what is due.
type taskKind uint8

const (
	taskInspect taskKind = iota // inspect a process
	taskRecheck                 // inspect the members of an install that was found changed
	taskForget                  // forget an install that no process names
	taskResync                  // resync after a loss, or after the last one could not be made
	taskScan                    // regular resync
	taskSplit                   // end a resync that some users hold up
	taskOrphans                 // forget restored rollouts without an install
	taskFlush                   // write the journal
	taskTurn                    // a pending member may have its turn
)

// task is one entry of the schedule.
type task struct {
	kind taskKind
	pid  selector.PID
	key  registry.Key
}

// earlier is the earlier of two times; zero: never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func inspectTask(pid selector.PID) task { return task{kind: taskInspect, pid: pid} }

// timers are everything that happens without an event.
type timers = schedule.Queue[task]

const (
	// firstInspection is how long after its exec a server is first inspected: it needs some milliseconds to arm, and an
	// inspection costs some microseconds. The time doubles for each further one, up to slowestInspection.
	firstInspection   = 20 * time.Millisecond
	slowestInspection = time.Second
	// lateInspection is the time between the inspections after those, of a server that has not armed itself: no event tells when
	// it does.
	lateInspection = 30 * time.Second
	// retryAfter is how long to wait after the candidates could not be listed, or a file was found changed.
	retryAfter = time.Second
	// overduePoll is the time between two inspections of a server that takes too long to arm itself.
	overduePoll = 10 * time.Second
)
