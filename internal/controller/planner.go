// SPDX-License-Identifier: MIT

package controller

import (
	"time"

	"ebpf-upgrader/internal/registry"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// planner plans the next inspection of the members of rollouts.
type planner struct {
	timers   *timers
	limits   rollout.Limits
	registry *registry.Registry
	exits    *exitWatch
	// quiet is nil where servers are signalled whether or not they are busy.
	quiet Idleness
}

// plan plans the next inspection of a member that was signalled.
func (p *planner) plan(m *rollout.Member) {
	now, key := time.Now(), inspectTask(m.PID)
	next, isPolled := m.Due(p.limits)
	switch {
	case next.IsZero():
		p.timers.Remove(key)
	case m.State == rollout.TimedOut && !next.After(now): // it could not be signalled again although it was time
		p.timers.Set(key, now.Add(p.limits.RetryAfter))
	case isPolled && !next.After(now):
		p.timers.Set(key, now.Add(overduePoll))
	case isPolled, m.State == rollout.Signalled && p.exits.isNeeded:
		p.timers.Poll(key, now, next)
	default:
		p.timers.Set(key, next)
	}
}

// stop ends what is planned for a process that is gone, or in no rollout any more.
func (p *planner) stop(pid selector.PID) {
	p.timers.Remove(inspectTask(pid))
	p.exits.stop(pid)
	if p.quiet != nil {
		p.quiet.Forget(pid)
	}
}

// moved takes a change of a member's state.
func (p *planner) moved(m *rollout.Member, from rollout.State) {
	switch {
	case p.quiet == nil:
	case m.State == rollout.Pending: // so that it is known of an idle one when its turn comes
		p.quiet.Begin(m.Identity(), p.registry.Process(m.PID).User)
	default:
		p.quiet.Forget(m.PID)
	}
	switch m.State {
	case rollout.Signalled, rollout.TimedOut:
		p.plan(m)
	case rollout.Settling:
		if from != rollout.Settling {
			p.timers.Remove(inspectTask(m.PID)) // polling begins anew
		}
		p.plan(m)
	case rollout.None, rollout.Exited, rollout.Crashed, rollout.Upgraded, rollout.GaveUp:
		p.stop(m.PID)
	}
}
