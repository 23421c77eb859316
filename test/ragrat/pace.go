// SPDX-License-Identifier: MIT

//go:build linux

package main

import "time"

// pace holds the times of a run. An emulated machine needs longer ones.
type pace struct {
	// pause is the time between an answer and the next call of an agent. timeout limits the wait for an answer.
	pause, timeout time.Duration
	// quiet is how long nothing may happen until a scenario is over. It is longer than every time of the service but the
	// retry time.
	quiet time.Duration
	// gathers is how long the servers' own trigger collects events before it fires. late is how long after an exec its
	// signal may arrive.
	gathers, late time.Duration
	// patience limits every other wait.
	patience time.Duration
	// poll is the time between two observations of the servers.
	poll time.Duration
}

func usualPace() pace {
	return pace{
		pause: 300 * time.Millisecond, timeout: 5 * time.Second, quiet: 8 * time.Second, gathers: 2 * time.Second, late: 3 * time.Second,
		patience: time.Minute, poll: 10 * time.Millisecond,
	}
}

// times returns a slower pace. The pause grows as well: otherwise ten agents keep two emulated processors busy, and
// servers that are never idle are never upgraded. What only bounds an absence grows fourfold at most, because each
// scenario waits for all of it.
func (p pace) times(n int) pace {
	d := time.Duration(n)
	return pace{
		pause: p.pause * d * min(d, 3), timeout: p.timeout * min(d, 4), quiet: p.quiet * min(d, 4), gathers: p.gathers,
		late: p.late * min(d, 4), patience: p.patience * d, poll: p.poll * d,
	}
}
