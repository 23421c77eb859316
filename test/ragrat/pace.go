// SPDX-License-Identifier: MIT

//go:build linux

package main

import "time"

// pace is how fast things go: an emulated machine needs more time for everything.
type pace struct {
	// pause is what an agent makes between two calls, and timeout how long it waits for an answer.
	pause, timeout time.Duration
	// quiet is how long nothing must have happened for a scenario to be over. It is longer than all times of the
	// service but that of a retry.
	quiet time.Duration
	// gathers is how long the servers' own trigger gathers events before it fires, and late how long after an exec
	// its signal may come.
	gathers, late time.Duration
	// patience is how long anything else is waited for.
	patience time.Duration
	// look is the time between two looks at the servers.
	look time.Duration
}

func usualPace() pace {
	return pace{
		pause: 300 * time.Millisecond, timeout: 5 * time.Second, quiet: 8 * time.Second, gathers: 2 * time.Second, late: 3 * time.Second,
		patience: time.Minute, look: 10 * time.Millisecond,
	}
}

// times makes it slower. Agents pause for longer still: ten of them keep two emulated processors busy otherwise, and
// servers that are never idle are never upgraded.
func (p pace) times(n int) pace {
	d := time.Duration(n)
	return pace{
		pause: p.pause * d * min(d, 3), timeout: p.timeout * d, quiet: p.quiet * min(d, 4), gathers: p.gathers, late: p.late * d,
		patience: p.patience * d, look: p.look * d,
	}
}
