// SPDX-License-Identifier: MIT

package rollout

import (
	"fmt"
	"time"
)

// WaitFor names what a member waits for.
type WaitFor string

// What members wait for. The words are the same in JSON and tables.
const (
	// WaitResume: the user, the group or the rollout is halted, or an operator paused the service.
	WaitResume WaitFor = "resume"
	// WaitInstall: another file, because an operator abandoned the rollout of this one.
	WaitInstall WaitFor = "install"
	// WaitCanary: a canary of its group, WaitGroup one of another group of its user, and WaitUsers those of other users.
	WaitCanary WaitFor = "canary"
	WaitGroup  WaitFor = "group"
	WaitUsers  WaitFor = "users"
	// WaitIdle: a moment in which it is idle.
	WaitIdle WaitFor = "idle"
	// WaitTurn: its turn, which comes by itself.
	WaitTurn WaitFor = "turn"
	// WaitExec: its own exec after the signal. WaitArm: its handler after the exec. WaitHold: the end of the hold time.
	WaitExec WaitFor = "exec"
	WaitArm  WaitFor = "arm"
	WaitHold WaitFor = "hold"
	// WaitRetry: the time of the next signal.
	WaitRetry WaitFor = "retry"
	// WaitService: something that the service does first, or that hinders it.
	WaitService WaitFor = "service"
)

// Wait is what one server waits for. Its JSON form is a stable interface. The zero Wait says that it waits for nothing.
type Wait struct {
	For WaitFor `json:"for"`
	// Why is the reason in words. The server is its subject.
	Why string `json:"why"`
	// Since is when the reason began, and Until when it ends at the latest; zero: not known.
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
	// By is the user that paused its servers, or abandoned the rollout.
	By *uint32 `json:"by,omitempty"`
}

// Reasons returns a function that says what a member waits for at that time, as far as the rollout knows. The function
// must not be used after a change of the rollout. What members have in common is computed once.
func (r *Rollout) Reasons(now time.Time) func(*Member) Wait {
	t := turn{&r.ledger, now, nil}
	why := reasons{turn: t, isHaltedForAll: r.isHaltedForAll(), isFull: !t.inFlightEnd().IsZero(), users: make(map[uint32]Wait)}
	return why.of
}

// reasons holds what [Rollout.Reasons] computes once.
type reasons struct {
	turn
	isHaltedForAll, isFull bool
	// users has the Wait of each user with closed groups, of which none has a canary.
	users map[uint32]Wait
}

func (y *reasons) of(m *Member) Wait {
	l := y.cfg.Limits
	switch m.State {
	case Pending:
		return y.pending(m)
	case Signalled:
		return Wait{For: WaitExec, Why: "was signalled, and has not exec'd yet", Since: m.SignalledAt, Until: m.SignalledAt.Add(l.ConfirmTimeout)}
	case Settling:
		if m.ArmedAt.IsZero() {
			return Wait{For: WaitArm, Why: "has exec'd, and is not armed yet", Since: m.Since, Until: m.Since.Add(l.ArmTimeout)}
		}
		return Wait{For: WaitHold, Why: "is armed, and must live for the hold time", Since: m.ArmedAt, Until: m.ArmedAt.Add(l.Hold)}
	case TimedOut:
		if w := y.halted(m); w.For != "" {
			return w
		}
		return Wait{For: WaitRetry, Why: fmt.Sprintf("signalled %s in vain", times(m.Attempts)), Since: m.SignalledAt, Until: m.SignalledAt.Add(l.RetryAfter)}
	}
	return Wait{}
}

func (y *reasons) pending(m *Member) Wait {
	if w := y.halted(m); w.For != "" {
		return w
	}
	yielded := m.Since.Add(y.cfg.Limits.Yield)
	switch {
	case y.sending[m.PID] != nil:
		return Wait{For: WaitTurn, Why: "is being signalled"}
	case y.isFull:
		return Wait{For: WaitTurn, Why: fmt.Sprintf("as many servers upgrade as --max-in-flight %s allows", y.cfg.Limits.InFlight)}
	case y.isSelfTooEarly(m):
		return Wait{For: WaitTurn, Why: "is signalled last (--self)"}
	case yielded.After(y.now):
		return Wait{For: WaitTurn, Why: "is left to a service of the host first", Since: m.Since, Until: yielded}
	}
	g := y.group(m.Group)
	if !g.isOpen && y.canaries(y.user(m.UID)) > 0 {
		if w := y.closed(g); w.For != "" {
			return w
		}
	}
	if !m.BusySince.IsZero() {
		return Wait{For: WaitIdle, Why: m.Busy(y.now), Since: m.BusySince, Until: y.quietEnd(m, g)}
	}
	return Wait{For: WaitTurn, Why: "its turn comes by itself"}
}

// halted returns a Wait if the member's user, its group or the whole rollout is halted, or was abandoned.
func (y *reasons) halted(m *Member) Wait {
	u, g := y.user(m.UID), y.group(m.Group)
	switch {
	case y.abandoned != nil:
		return y.abandonedWait(*y.abandoned)
	case u.Abandoned != nil:
		return y.abandonedWait(*u.Abandoned)
	case u.IsHalted:
		return Wait{For: WaitResume, Why: fmt.Sprintf("rollout %d is halted for its user: %s", y.number, u.HaltReason), Since: u.HaltedAt}
	case g.overdue > 0:
		timeout := y.cfg.Limits.ArmTimeout
		return Wait{For: WaitResume, Why: fmt.Sprintf("rollout %d is halted for its group: %s", y.number, g.overdueReasons(timeout)[0]), Since: g.overdueSince(timeout)}
	case y.isHaltedForAll && !u.IsAlone:
		return Wait{For: WaitResume, Why: fmt.Sprintf("rollout %d is halted for all users: the canaries of %d users failed", y.number, maxUnprovenUsers)}
	}
	return Wait{}
}

func (y *reasons) abandonedWait(by Act) Wait {
	return actWait(WaitInstall, fmt.Sprintf("rollout %d was abandoned", y.number), by)
}

// actWait is a Wait for the end of what an act has begun, with the reason that was given.
func actWait(what WaitFor, why string, by Act) Wait {
	if by.Reason != "" {
		why += ": " + by.Reason
	}
	w := Wait{For: what, Why: why, Since: by.At}
	if by.PID != 0 {
		w.By = &by.UID
	}
	return w
}

// PauseWait returns what a member waits for that an operator paused. why says what is paused; the server is its subject.
func PauseWait(why string, by Act) Wait { return actWait(WaitResume, why, by) }

// closed returns what keeps a closed group from its next canary; zero: nothing.
func (y *reasons) closed(g *group) Wait {
	if canary := g.firstInFlight(); canary != nil {
		return Wait{For: WaitCanary, Why: fmt.Sprintf("the canary of its group, %d, is %s", canary.PID, canary.State), Since: canary.Since}
	}
	w, isKnown := y.users[g.key.User]
	if !isKnown {
		w = y.closedUser(y.user(g.key.User))
		y.users[g.key.User] = w
	}
	return w
}

// closedUser returns what keeps a user from the next canary, apart from a canary of the same group; zero: nothing.
func (y *reasons) closedUser(u *user) Wait {
	for _, other := range u.groups {
		if canary := other.firstInFlight(); canary != nil && (!other.isOpen || !u.IsProven) {
			return Wait{For: WaitGroup, Why: fmt.Sprintf("another group of its user goes first: %d is %s", canary.PID, canary.State), Since: canary.Since}
		}
	}
	if isAllowed, _ := y.allowsFirstCanary(u); !isAllowed {
		return Wait{For: WaitUsers, Why: "the canaries of other users go first"}
	}
	return Wait{}
}

// firstInFlight returns the member with the lowest PID that is signalled or settling, or nil.
func (g *group) firstInFlight() (first *Member) {
	for _, m := range g.inFlight {
		if first == nil || m.PID < first.PID {
			first = m
		}
	}
	return first
}

// times returns a number of times in words.
func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}
