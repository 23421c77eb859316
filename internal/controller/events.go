// SPDX-License-Identifier: MIT

package controller

import (
	"context"
	"time"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

const (
	// exitEventGrace is how long the exit event is waited for once an inspection found a server gone. A process leaves /proc
	// when it begins to exit, which is before its event, and before its pidfd says so.
	exitEventGrace = 2 * time.Second
	// exitEventRetry is the time between inspections meanwhile.
	exitEventRetry = time.Second
)

// handle takes an event. While the delivery to a server is under way, its events wait for the result.
func (c *reconciler) handle(ctx context.Context, e selector.Event) {
	if e.Kind == selector.EventLost {
		c.surveys.requestResync(ctx, time.Now())
		return
	}
	if c.deliveries.keep(e) {
		return
	}
	now := time.Now()
	if c.isLate(e) {
		c.inspectSoon(e.PID, now)
		return
	}
	r := c.rollouts.of(e.PID)
	if r != nil {
		c.rollouts.touch(r)
	}
	switch e.Kind {
	case selector.EventExec, selector.EventExecOther:
		if r != nil {
			r.Execed(e.PID, now)
		}
		if p := c.registry.Process(e.PID); p != nil {
			p.ExecedOther = p.ExecedOther || e.Kind == selector.EventExecOther
			c.rollouts.traits.execed(e.PID)
		}
		c.inspectSoon(e.PID, now)
	case selector.EventFork:
		c.timers.Set(inspectTask(e.PID), now.Add(selector.ForkAge))
	case selector.EventExit:
		c.ended(e.PID, e.Exit)
	case selector.EventSignal:
		c.rollouts.externalSignal(e, now)
	}
}

// inspectSoon plans the first inspection of a process that has just exec'd. One that has begun already counts for nothing.
func (c *reconciler) inspectSoon(pid selector.PID, now time.Time) {
	c.inspections.outdate(pid)
	c.timers.Start(inspectTask(pid), now)
}

// isLate reports whether an event is of a time that is over. An exec from before the signal is not what the signal led to. A
// signal from before the server was found outdated was for the file before. An exit from before the process began is that of
// another process with its PID.
func (c *reconciler) isLate(e selector.Event) bool {
	p, m := c.registry.Process(e.PID), c.rollouts.member(e.PID)
	switch e.Kind {
	case selector.EventExec, selector.EventExecOther:
		return p != nil && p.IsReplaced || m != nil && !e.At.IsZero() && e.At.Before(m.SignalledAfter)
	case selector.EventSignal:
		return m != nil && !e.At.IsZero() && e.At.Before(m.Since)
	case selector.EventExit:
		return p != nil && !e.At.IsZero() && e.At.Before(p.StartedAt)
	}
	return false
}

// vanished takes an inspection that found a process gone, or another in its place. How a member ended that was signalled may
// halt the rollout: that is guessed only if no event tells it. It reports whether the event is waited for.
func (c *reconciler) vanished(pid selector.PID, now time.Time) (waits bool) {
	m := c.rollouts.member(pid)
	if m == nil || !m.State.IsPersistent() {
		c.ended(pid, selector.Exit{})
		return false
	}
	p := c.registry.Process(pid)
	if p.GoneSince.IsZero() {
		p.GoneSince = now
	}
	c.rollouts.of(pid).Vanished(pid)
	end := p.GoneSince.Add(exitEventGrace)
	if !now.Before(end) {
		c.ended(pid, selector.Exit{})
		return false
	}
	c.timers.Set(inspectTask(pid), earlier(now.Add(exitEventRetry), end))
	return true
}

// ended takes the end of a process.
func (c *reconciler) ended(pid selector.PID, exit selector.Exit) {
	c.timers.Remove(inspectTask(pid))
	c.inspections.outdate(pid)
	p, now := c.registry.Process(pid), time.Now()
	if p == nil {
		c.registry.Remove(pid, now)
		return
	}
	r, m := c.rollouts.of(pid), c.rollouts.member(pid)
	isCurrent := m == nil || m.State == rollout.Upgraded
	if r != nil {
		r.Ended(pid, exit, now)
		c.rollouts.touch(r)
	}
	if isCurrent {
		c.rollouts.noteEarlyDeath(p, exit, now)
	}
	install := p.Install
	c.registry.Remove(pid, now)
	c.planner.stop(pid)
	restored := c.rollouts.traits.of(pid).restored
	delete(c.rollouts.traits, pid)
	if restored != nil {
		c.rollouts.releaseRestored(restored)
	}
	if install != nil {
		c.cfg.Installs.ReleaseView(p.View, p.Identity())
		c.planForget(install)
	}
	if !c.registry.HasUser(p.User) {
		delete(c.deliveries.turns.last, p.UID)
	}
	if p.IsReplaced { // the next owner of the PID has waited for this
		c.inspectSoon(pid, now)
	}
}
