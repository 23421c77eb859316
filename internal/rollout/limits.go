// SPDX-License-Identifier: MIT

package rollout

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Limits are the times and numbers that a rollout keeps. The zero Limits are not sensible; see [DefaultLimits].
type Limits struct {
	// Canary is how many members of a group must prove the file before the others follow. 0: all members of all groups
	// go at once.
	Canary int
	// CanaryTimeout is how long a canary that neither execs nor ends delays the next one.
	CanaryTimeout time.Duration
	// GroupHold is how long a canary must have been armed before the others of its group follow. Until then, a migrated
	// index may refuse their calls.
	GroupHold time.Duration
	// Hold is how long a server must live after it was armed to count as upgraded, and before another group of its user
	// follows.
	Hold time.Duration
	// ConfirmTimeout is how long after the signal a server may exec, and how long after its start it may arm itself.
	// Servers wait 30 s for their running calls.
	ConfirmTimeout time.Duration
	// ArmTimeout is how long after its exec a server may take to arm itself before that halts its group. The migration of
	// an index takes seconds to minutes.
	ArmTimeout time.Duration
	// RetryAfter is the least time between two signals to a server that stays on its image.
	RetryAfter time.Duration
	// MaxAttempts is how often a server is signalled for one file at most.
	MaxAttempts int
	// InFlight limits how many servers are signalled or settling at the same time.
	InFlight InFlight
	// MaxFailures is how many deaths of a user's servers halt the rollout for that user.
	MaxFailures int
	// MaxLate is how many late crashes of a user's servers halt the rollout for that user; 0: none does. A late crash is that of
	// an upgraded server, within LateWithin after its upgrade.
	MaxLate    int
	LateWithin time.Duration
	// QuietWithin is how long a server that may be signalled waits for a quiet moment. In an open group it waits for
	// quietWithinOpen at most, because a migrated index may refuse its calls.
	QuietWithin time.Duration
	// QuietBy is a deadline after the start of the rollout, for hosts without a gate. A wait for a quiet moment that
	// began before the deadline ends with it, and canaries do not wait at all before it. 0: none.
	QuietBy time.Duration
	// Yield is how long a pending server is left to another service that sees more of the host. 0: not at all.
	Yield time.Duration
}

// DefaultRetryAfter is twice the time after which a server with running calls gives up an upgrade.
const DefaultRetryAfter = 60 * time.Second

// quietWithinOpen limits [Limits.QuietWithin] in an open group.
const quietWithinOpen = 2 * time.Second

const (
	// maxCanaries is how many canaries of one user may be unproven at a time, if the earlier ones are dormant or busy.
	maxCanaries = 3
	// maxUnprovenUsers is how many users may have an unproven first canary at a time. If the canaries of as many users
	// die, the rollout halts for all users.
	maxUnprovenUsers = 3
	// userDelay is how long the first canary of one user delays the first canary of the next.
	userDelay = time.Second
)

// DefaultLimits returns the limits of a service with a closed gate.
func DefaultLimits() Limits {
	return Limits{
		Canary:         1,
		CanaryTimeout:  5 * time.Second,
		GroupHold:      300 * time.Millisecond,
		Hold:           2 * time.Second,
		ConfirmTimeout: 35 * time.Second,
		ArmTimeout:     2 * time.Minute,
		RetryAfter:     DefaultRetryAfter,
		MaxAttempts:    3,
		MaxFailures:    1,
		MaxLate:        1,
		LateWithin:     time.Hour,
		QuietWithin:    5 * time.Second,
	}
}

// InFlight is a number of servers, or a percentage of all servers of a rollout. The zero InFlight is no limit. It
// implements the flag.Value interface of pflag.
type InFlight struct {
	Servers, Percent int
}

var errInFlight = errors.New("must be a number of servers of at least 1, or a percentage from 1% to 100%")

// Set parses a number or a percentage, such as "20" or "10%".
func (f *InFlight) Set(text string) error {
	number, isPercent := strings.CutSuffix(text, "%")
	n, err := strconv.Atoi(number)
	switch {
	case err != nil || n < 1 || isPercent && n > 100:
		return errInFlight
	case isPercent:
		*f = InFlight{Percent: n}
	default:
		*f = InFlight{Servers: n}
	}
	return nil
}

// String returns the text that Set parses, or "all" for no limit.
func (f InFlight) String() string {
	switch {
	case f.Percent > 0:
		return fmt.Sprintf("%d%%", f.Percent)
	case f.Servers > 0:
		return strconv.Itoa(f.Servers)
	}
	return "all"
}

// Type returns the placeholder for the value in a help text.
func (InFlight) Type() string { return "N|P%" }

// of returns the limit for a rollout of that many servers; 0: none.
func (f InFlight) of(servers int) int {
	if f.Percent > 0 {
		return max(1, servers*f.Percent/100)
	}
	return f.Servers
}
