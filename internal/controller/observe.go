// SPDX-License-Identifier: MIT

package controller

import (
	"fmt"
	"maps"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/deliver"
	"ebpf-upgrader/internal/registry"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// owned takes the owner of a process that is to be inspected.
func (c *reconciler) owned(in *inspection, id selector.Identity, user selector.User, err error) {
	if c.inspections.admit(in, id, user, err) {
		return
	}
	c.timers.Remove(inspectTask(in.pid))
	over := c.registry.Over()[in.pid]
	c.reportOver(user, over)
	c.surveys.done(in, over)
}

// overEvery is the time between two reports that a user is over a limit.
const overEvery = 10 * time.Minute

// reportOver reports that a user is over a limit, once for all of the user's processes.
func (c *reconciler) reportOver(user selector.User, s api.Server) {
	now := time.Now()
	if now.Sub(c.overAt[user]) < overEvery {
		return
	}
	maps.DeleteFunc(c.overAt, func(_ selector.User, at time.Time) bool { return now.Sub(at) >= overEvery })
	c.overAt[user] = now
	m := rollout.Member{PID: s.PID, StartTime: s.StartTime, UID: s.UID, Verdict: s.Verdict}
	c.cfg.Observer.Refused(m, fmt.Errorf("%s: %s; others of the user are left out without a report", s.Verdict, s.Detail))
}

// read takes what a worker has read of a process: it is judged now, by what is installed now.
func (c *reconciler) read(in *inspection, generation uint64, i deliver.Inspection) {
	if c.deliveries.isUnderWay(in.pid) {
		c.deliveries.park(in.pid)
		return
	}
	if !c.inspections.isCurrent(in, generation, &i) {
		return
	}
	if i.IsRead() {
		c.cfg.Deliverer.Judge(&i, c.registry.File(i.Process))
	}
	c.observe(i, time.Now())
	c.surveys.done(in, api.NewServer(i.Process, i.Decision))
}

// done ends an inspection, and the surveys that waited for it only.
func (c *surveys) done(in *inspection, found api.Server) {
	for _, s := range c.inspections.end(in) {
		s.servers = append(s.servers, found)
		if s.isDone() {
			c.surveyed(s)
		}
	}
}

// observe takes an inspection, and plans the next one where nothing may tell what the process does next.
func (c *reconciler) observe(i deliver.Inspection, now time.Time) {
	pid := i.Process.PID
	switch known := c.registry.Process(pid); {
	case i.Decision.Verdict == selector.Gone:
		c.vanished(pid, now)
		return
	case i.Process.StartTime == 0:
		c.unread(i, now)
		return
	case known != nil && known.Identity() != i.Process.Identity && c.vanished(pid, now):
		known.IsReplaced = true
		return
	}
	p := c.register(&i, now)
	r := c.rollouts.of(pid)
	if r != nil && c.observeMember(r, p, &i, now) {
		return
	}
	if !api.IsServer(p.Server) && c.rollouts.member(pid) == nil { // no event would tell its end
		c.ended(pid, selector.Exit{})
		return
	}
	c.planIdle(r, &i, now)
}

// register takes a process into the registry, with the install that it names.
func (c *reconciler) register(i *deliver.Inspection, now time.Time) *registry.Process {
	p := c.registry.Put(api.NewServer(i.Process, i.Decision), i.Process, i.At)
	if i.Process.MidExec {
		p.InExecAt = now
	}
	if i.Process.Catches {
		c.rollouts.traits.armed(p.PID)
	}
	c.assign(p, i, now)
	return p
}

// assign brings a process to the install that it names now. One that names none keeps its install: it may be a script on its
// way to the server.
func (c *reconciler) assign(p *registry.Process, i *deliver.Inspection, now time.Time) {
	if p.View != i.Process.View && p.Install != nil {
		c.cfg.Installs.ReleaseView(p.View, i.Process.Identity)
	}
	p.View = i.Process.View
	to, isNew, evicted := c.registry.Resolve(p, i.Process, now)
	i.Decision = p.Decision
	if p.Verdict == selector.OverLimit {
		c.reportOver(p.User, p.Server)
	}
	if evicted != nil {
		c.dropInstall(evicted)
	}
	if to == nil {
		return
	}
	c.cfg.Installs.RetainView(p.View, p.Identity())
	if isNew { // only now: it is watched through a process with its view
		c.cfg.Installs.Watch(to.Key)
	}
	from := p.Install
	c.registry.Assign(p, to, now)
	if from != nil && from != to {
		c.rollouts.reassign(p, from, to, now)
		c.planForget(from)
	}
	c.rollouts.bindRestored(p, to)
}

// observeMember hands an inspection to a rollout. It reports whether the next one follows from the member's state.
func (c *reconciler) observeMember(r *attached, p *registry.Process, i *deliver.Inspection, now time.Time) bool {
	c.rollouts.touch(r)
	before := r.Member(p.PID)
	wasCarried := before != nil && before.Carried
	t := c.rollouts.traits.of(p.PID)
	if t.foreign.hasExeced && r.ObserveForeign(i.Process, i.Decision, t.foreign.sender, t.foreign.at, now) {
		c.rollouts.traits.set(p.PID).foreign = foreignSignal{} // an operator may end the wait for it for good
	}
	r.Observe(i.Process, i.Decision, c.rank(p, r, i), now)
	m := r.Member(p.PID)
	if wasCarried && m == nil {
		c.rollouts.disown(before)
	}
	if m == nil || !m.State.IsPersistent() {
		return false
	}
	if t.restored == nil || !c.timers.Retry(inspectTask(p.PID), now) {
		c.planner.plan(m)
	}
	return true
}

// rank is the order of a server in a rollout that may not have it yet.
func (c *reconciler) rank(p *registry.Process, r *attached, i *deliver.Inspection) rollout.Rank {
	isNew := r.Member(p.PID) == nil && i.Decision.Verdict == selector.Outdated
	if c.cfg.Prefers != nil && isNew && r.LacksCanary(rollout.GroupOf(i.Process)) && c.cfg.Prefers(i.Process) {
		return rollout.RankCanary
	}
	return c.rollouts.traits.of(p.PID).rank
}

// planIdle plans the next inspection of a process that was not signalled, where the verdict may change without an event. r is
// nil where there is no rollout.
func (c *reconciler) planIdle(r *attached, i *deliver.Inspection, now time.Time) {
	pid := i.Process.PID
	isArming := false
	switch i.Decision.Verdict {
	case selector.NoHandler, selector.UnreadableFacts:
		if isArming = c.timers.Retry(inspectTask(pid), now); !isArming {
			c.timers.Postpone(inspectTask(pid), now.Add(lateInspection))
		}
	case selector.Forked:
		c.timers.Set(inspectTask(pid), now.Add(selector.ForkAge-i.Process.Age))
		return
	default:
		c.timers.Remove(inspectTask(pid))
	}
	if r != nil {
		r.SetArming(pid, isArming)
	}
}

// unread takes an inspection that could not even tell which process it read: for want of descriptors, say. No server is
// signalled on the strength of that, nor given up.
func (c *reconciler) unread(i deliver.Inspection, now time.Time) {
	pid := i.Process.PID
	waits := c.timers.Retry(inspectTask(pid), now)
	r, m := c.rollouts.of(pid), c.rollouts.member(pid)
	if m == nil {
		return
	}
	c.rollouts.touch(r)
	r.ObserveUnreadable(m, i.Decision, now)
	r.SetArming(pid, waits)
	if !waits && m.State.IsPersistent() { // what became of it must be known
		c.timers.Set(inspectTask(pid), now.Add(slowestInspection))
	}
}
