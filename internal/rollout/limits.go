// SPDX-License-Identifier: MIT

package rollout

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Limits say how carefully a rollout goes. The zero Limits are not sensible; see [DefaultLimits].
type Limits struct {
	// Canary is how many members of a group go first, alone. 0: all members of all groups go at once.
	Canary int
	// CanaryTimeout is how long a canary that neither execs nor ends keeps the next one waiting.
	CanaryTimeout time.Duration
	// GroupHold is how long a canary must have been armed before the others of its group follow. Meanwhile a migrated
	// index may refuse them.
	GroupHold time.Duration
	// Hold is how long a server must live after it was armed to count as upgraded, and before another group of its user
	// follows.
	Hold time.Duration
	// ConfirmTimeout is how long after the signal an exec is waited for, and how long a server that has just started is
	// given to arm itself. Servers wait 30 s for their running calls.
	ConfirmTimeout time.Duration
	// RetryAfter is the time between two signals to one server that stays on its image.
	RetryAfter time.Duration
	// MaxAttempts is how often a server is signalled for one file.
	MaxAttempts int
	// InFlight bounds how many servers are on their way at the same time.
	InFlight InFlight
	// MaxFailures is how many deaths halt the rollout for a user.
	MaxFailures int
	// QuietWithin is how long a busy server that could be signalled is waited for. One whose group is open is waited for no
	// longer than [quietWithinOpen]: a migrated index may refuse its calls.
	QuietWithin time.Duration
	// QuietBy is how long after the beginning of the rollout the wait ends at the latest, if it began before, and that of a
	// canary that could go first does not begin. 0: no such limit.
	QuietBy time.Duration
	// Yield is how long a server that could be signalled is left to another sender that sees more of the host. 0: not at
	// all.
	Yield time.Duration
}

// DefaultRetryAfter is twice the servers' own limit for running calls, after which they give up an upgrade.
const DefaultRetryAfter = 60 * time.Second

// ArmTimeout is how long a server that runs the new image may take to arm itself. The migration of an index takes seconds
// to minutes.
const ArmTimeout = 2 * time.Minute

// quietWithinOpen bounds [Limits.QuietWithin] in a group whose canary has exec'd.
const quietWithinOpen = 2 * time.Second

const (
	// maxCanaries is how many canaries of one user may be unproven at a time when they are dormant or busy.
	maxCanaries = 3
	// maxUnprovenUsers is how many users' first canaries may be unproven at a time, and how many may die before the
	// rollout halts for all users.
	maxUnprovenUsers = 3
	// userDelay is how long the first canary of one user delays that of the next.
	userDelay = time.Second
)

// DefaultLimits are those of a service whose gate is closed.
func DefaultLimits() Limits {
	return Limits{
		Canary:         1,
		CanaryTimeout:  5 * time.Second,
		GroupHold:      300 * time.Millisecond,
		Hold:           2 * time.Second,
		ConfirmTimeout: 35 * time.Second,
		RetryAfter:     DefaultRetryAfter,
		MaxAttempts:    3,
		MaxFailures:    1,
		QuietWithin:    5 * time.Second,
	}
}

// InFlight is a number of servers, or a share of those that a rollout has. The zero InFlight bounds nothing. It implements
// the interface of command line flags.
type InFlight struct {
	Servers, Percent int
}

var errInFlight = errors.New("must be a number of servers of at least 1, or a share between 1% and 100%")

// Set takes a number or a share, as in "20" and "10%".
func (f *InFlight) Set(text string) error {
	number, share := strings.CutSuffix(text, "%")
	n, err := strconv.Atoi(number)
	switch {
	case err != nil || n < 1 || share && n > 100:
		return errInFlight
	case share:
		*f = InFlight{Percent: n}
	default:
		*f = InFlight{Servers: n}
	}
	return nil
}

// String is what Set takes, or "all".
func (f InFlight) String() string {
	switch {
	case f.Percent > 0:
		return fmt.Sprintf("%d%%", f.Percent)
	case f.Servers > 0:
		return strconv.Itoa(f.Servers)
	}
	return "all"
}

// Type names the kind of value in a help text.
func (InFlight) Type() string { return "N|P%" }

// of is the bound for a rollout of that many servers; 0 is none.
func (f InFlight) of(servers int) int {
	if f.Percent > 0 {
		return max(1, servers*f.Percent/100)
	}
	return f.Servers
}
