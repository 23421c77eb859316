// SPDX-License-Identifier: MIT

package upgrade

import (
	"time"

	"ebpf-upgrader/selector"
)

const (
	// slowCanary is how long after its signal a canary keeps the place of one: an idle server needs
	// milliseconds. Another is tried then.
	slowCanary = time.Second
	// gateCheck is the time between looks at a gate that servers wait at: time alone may open it.
	gateCheck = 50 * time.Millisecond
)

// gate decides who may be asked when.
type gate struct {
	// open says that the canaries are through.
	open bool
	// since is when the first canary was asked, or the last one died; zero before.
	since time.Time
	// upgraded is how many canaries did.
	upgraded int
	// queue has the pending servers, and others, in the order of the plan if sorted.
	queue  []selector.PID
	sorted bool
}

func (g *gate) add(pid selector.PID) {
	g.queue = append(g.queue, pid)
	g.sorted = false
}

// turn is the server that may be asked now, if there is one; waiting says that there may be one
// later without anything happening. rests says who may not be, for a while.
func (r *rollout) turn(now time.Time, rests func(*Member) bool) (m *Member, waiting bool) {
	m, waiting = r.first(rests)
	if m == nil {
		return nil, waiting
	}
	r.openGate(now)
	if !r.gate.open && !r.roomForCanary(now) || !r.roomInFlight(now) || now.Sub(m.Since) < r.limits.Yield {
		return nil, true
	}
	if m.PID == r.self && r.othersToCome() {
		return nil, true
	}
	return m, false
}

// othersToCome reports whether others than self are to be asked before. Those whose users' are not asked any
// more are not.
func (r *rollout) othersToCome() bool {
	for _, m := range r.members {
		if m.State == Pending && m.PID != r.self && !r.halts(m.UID) {
			return true
		}
	}
	return false
}

// last makes self the one that is asked after all others.
func (r *rollout) last(self selector.PID) { r.self, r.gate.sorted = self, false }

// first is the first of the plan that is pending and may be asked; waiting says that others must wait for a
// while. The queue keeps those that may not be now.
func (r *rollout) first(rests func(*Member) bool) (first *Member, waiting bool) {
	g := &r.gate
	if !g.sorted {
		g.queue = selector.Plan(r.self, g.queue)
		g.sorted = true
	}
	kept := 0
	for i, pid := range g.queue {
		m := r.members[pid]
		if m == nil || m.State != Pending {
			continue
		}
		if m.home.asks() && !r.halts(m.UID) {
			if !rests(m) {
				g.queue = append(g.queue[:kept], g.queue[i:]...)
				return m, waiting
			}
			waiting = true
		}
		g.queue[kept] = pid
		kept++
	}
	g.queue = g.queue[:kept]
	return nil, waiting
}

// openGate lets the others follow the canaries when enough of them upgraded, or when time is up and
// no canary is on its way. Deaths begin the time anew.
func (r *rollout) openGate(now time.Time) {
	if r.gate.open {
		return
	}
	waited := now.Sub(r.gate.since)
	timeUp := !r.gate.since.IsZero() && waited >= r.limits.CanaryTimeout
	tooLong := waited >= r.limits.CanaryTimeout+2*r.limits.Hold // one that execs again and again
	r.gate.open = r.gate.upgraded >= r.limits.Canary || timeUp && (tooLong || !r.canaryHolds())
}

func (r *rollout) canaryHolds() bool {
	for _, m := range r.members {
		if m.canary && (m.State == Holding || m.gone) {
			return true
		}
	}
	return false
}

// roomForCanary reports whether one more may be tried.
func (r *rollout) roomForCanary(now time.Time) bool {
	trying := r.gate.upgraded
	for _, m := range r.members {
		if m.canary && (m.State == Holding || m.gone || m.State == Notified && now.Sub(m.AskedAt) < slowCanary) {
			trying++
		}
	}
	return trying < r.limits.Canary
}

// canaries are those that have been asked, in vain so far.
func (r *rollout) canaries() []selector.PID {
	var all []selector.PID
	for pid, m := range r.members {
		if m.canary && m.State == Notified {
			all = append(all, pid)
		}
	}
	return all
}

// roomInFlight holds the number of servers on their way against its bound. One that does not exec
// within the canaries' time is busy or has no session: it holds nobody up.
func (r *rollout) roomInFlight(now time.Time) bool {
	bound := r.limits.InFlight.of(r.report(false).Total())
	if bound == 0 {
		return true
	}
	flying := 0
	for _, m := range r.members {
		if m.State == Holding || m.State == Notified && now.Sub(m.AskedAt) < r.limits.CanaryTimeout {
			flying++
		}
	}
	return flying < bound
}
