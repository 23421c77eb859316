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
	// WaitsSince is when the first staged file of this host began to wait; zero: none waits.
	WaitsSince time.Time
	// Requests count the calls of the engine by kind, "load" or "swap", and result, "ok", "conflict" or "error".
	Requests map[string]map[string]uint64
}
