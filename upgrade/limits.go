// SPDX-License-Identifier: MIT

package upgrade

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Limits say how carefully a rollout goes. The zero Limits are not sensible; see [DefaultLimits].
type Limits struct {
	// Canary is how many servers go alone, before all others.
	Canary int
	// CanaryTimeout is how long the others wait for a canary that neither upgrades nor dies, because
	// it is busy or has no session.
	CanaryTimeout time.Duration
	// Hold is how long a server must live after its exec to count as upgraded.
	Hold time.Duration
	// ConfirmTimeout is how long after the signal an exec is waited for, and how long a server that
	// has just started is given to arm. The servers wait 30 s for their running calls.
	ConfirmTimeout time.Duration
	// RetryAfter is the time between two signals to one server that stays as it is.
	RetryAfter  time.Duration
	MaxAttempts int
	// InFlight bounds how many are asked at the same time.
	InFlight InFlight
	// MaxFailures is how many deaths halt the rollout.
	MaxFailures int
	// Yield is how long a server that could be asked is left to somebody else who may ask it: a service
	// that sees more of the host. 0 is not at all.
	Yield time.Duration
}

// DefaultRetryAfter is twice the servers' own limit for running calls, after which they give up an
// upgrade.
const DefaultRetryAfter = 60 * time.Second

// DefaultLimits are those of a service.
func DefaultLimits() Limits {
	return Limits{
		Canary:         1,
		CanaryTimeout:  5 * time.Second,
		Hold:           2 * time.Second,
		ConfirmTimeout: 35 * time.Second,
		RetryAfter:     DefaultRetryAfter,
		MaxAttempts:    3,
		MaxFailures:    1,
	}
}

// InFlight is a number of servers, or a share of those that a rollout has. The zero InFlight bounds
// nothing. It implements the interface of command line flags.
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
