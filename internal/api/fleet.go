// SPDX-License-Identifier: MIT

package api

import "time"

// FleetRecord is what the record of a fleet says to one of its hosts, for metrics.
type FleetRecord struct {
	// IsReached says that the engine answers.
	IsReached bool
	// IsPaused is the policy's. IsHalted is true of the newest release where too many hosts have failed.
	IsPaused, IsHalted bool
	// Done, Seats and Failed count the hosts of the newest release.
	Done, Seats, Failed int
	// Wave is the outermost wave that is open for that release, from 0.
	Wave int
	// WaitsSince is when the first staged file of this host began to wait; zero: none waits.
	WaitsSince time.Time
	// Waiting counts the staged files of this host that wait, by each reason that there is. Releases has the short hash of what is
	// staged at each path, or was put in place last, and Ring is that of this host.
	Waiting  map[string]int
	Releases map[string]string
	Ring     string
	// Requests count the calls of the engine by kind, "load" or "swap", and result, "ok", "conflict" or "error".
	Requests map[string]map[string]uint64
	// Took is the time of all calls by kind.
	Took map[string]time.Duration
}
