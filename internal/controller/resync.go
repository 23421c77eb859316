// SPDX-License-Identifier: MIT

package controller

import (
	"context"
	"slices"
	"sync"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/deliver"
	"ebpf-upgrader/internal/registry"
	"ebpf-upgrader/internal/schedule"
	"ebpf-upgrader/selector"
)

// A resync lists all candidates, in a worker, and inspects them. Whatever is slow holds up its user only: after splitAfter a
// resync ends, and what is left of it are surveys of one user each.

const (
	// splitAfter is how long a resync waits for the slow processes of a user.
	splitAfter = 500 * time.Millisecond
	// minLossPause is the least time between two resyncs after losses: a process that makes the kernel lose events can do so
	// without a pause.
	minLossPause = 250 * time.Millisecond
	// resyncFactor is how many times as long as it took a resync leaves for the rest.
	resyncFactor = 10
)

// surveys are the inspections of many processes: resyncs, those of all members of an install, and those that are due.
type surveys struct {
	*parts
	// byInstall has those of all members of an install.
	byInstall map[*registry.Install]*survey
	// current is the resync that is under way, and stage how far it has come. next follows it; nil: none.
	current, next              *survey
	stage                      stage
	lossThrottle, scanThrottle schedule.Throttle
	// lister is the worker that lists candidates.
	lister sync.WaitGroup
}

// stage is how far a resync has come.
type stage uint8

const (
	// stageIdle: none is under way.
	stageIdle stage = iota
	// stageBlind: none is, because the last one could not list the candidates. No server is signalled before the next one.
	stageBlind
	// stageListing: a worker lists the candidates.
	stageListing
	// stageRelisting: it does, and they are listed again afterwards.
	stageRelisting
	// stageInspecting: the candidates are being inspected.
	stageInspecting
)

// requestResync resyncs after a loss, as soon as the last one has ended, and has left time for the rest.
func (c *surveys) requestResync(ctx context.Context, now time.Time) {
	at := c.lossThrottle.Next(now)
	if c.current != nil && c.current.reason == api.ReasonLoss {
		at = now.Add(minLossPause)
	}
	if at.After(now) {
		c.timers.Set(task{kind: taskResync}, at)
		return
	}
	c.resync(ctx, resyncRequest{reason: api.ReasonLoss})
}

// resyncRequest is why a resync is made.
type resyncRequest struct {
	reason api.Reason
	// holds says that no server of a user is signalled before the user's processes were inspected.
	holds bool
	// answer, if any, gets the report.
	answer chan<- api.Report
}

// resync begins one. While processes are being inspected for another, it begins at the end of that, which would otherwise
// lack those that it waits for; one that is yet to list its candidates lists them again.
func (c *surveys) resync(ctx context.Context, r resyncRequest) {
	now := time.Now()
	c.timers.Remove(task{kind: taskResync})
	if !c.registry.Learns() && !slices.ContainsFunc(c.registry.Fixed(), (*registry.Install).IsReady) {
		if c.stage == stageBlind {
			c.stage = stageIdle
		}
		s := newSurvey(r.reason, now)
		if r.answer != nil {
			s.answers = append(s.answers, r.answer)
		}
		c.report(s, now)
		return
	}
	s := c.current
	switch c.stage {
	case stageInspecting:
		if c.next == nil {
			c.next = newSurvey(r.reason, now)
		}
		s = c.next
	case stageListing, stageRelisting:
		c.stage = stageRelisting
	case stageIdle, stageBlind:
		s = newSurvey(r.reason, now)
		c.current = s
		c.list(ctx, r.reason)
	}
	if r.reason == api.ReasonScan { // with its audit
		s.reason = r.reason
	}
	if r.holds && !s.holds {
		s.holds = true
		c.rollouts.holds.unknown++
	}
	if r.answer != nil {
		s.answers = append(s.answers, r.answer)
	}
}

// list has a worker list the candidates of the current resync.
func (c *surveys) list(ctx context.Context, reason api.Reason) {
	c.stage = stageListing
	audit := c.cfg.Audit
	if reason != api.ReasonScan {
		audit = nil
	}
	c.lister.Go(func() {
		var auditErr error
		if audit != nil {
			auditErr = audit(ctx)
		}
		pids, err := c.cfg.Lister.Candidates(ctx)
		c.inbox.put(func(ctx context.Context) { c.listed(ctx, pids, auditErr, err) })
	})
}

// listed takes the candidates of the current resync.
func (c *surveys) listed(ctx context.Context, candidates []selector.PID, auditErr, err error) {
	if ctx.Err() != nil {
		return
	}
	if auditErr != nil {
		c.cfg.Observer.Trouble(auditErr)
	}
	if c.stage == stageRelisting {
		c.list(ctx, c.current.reason)
		return
	}
	if err != nil {
		c.cfg.Observer.Trouble(err)
		c.listFailed()
		return
	}
	s := c.current
	c.stage = stageInspecting
	c.inspectAll(s, c.toInspect(candidates), false)
	if s.holds {
		c.rollouts.holds.removeUnknown() // those of the survey hold by now
	}
	if c.current == s {
		c.timers.Set(task{kind: taskSplit}, time.Now().Add(splitAfter))
	}
}

// listFailed ends the current resync. No server is signalled before the next one.
func (c *surveys) listFailed() {
	s := c.current
	c.current, c.stage = nil, stageBlind
	if s.holds {
		c.rollouts.holds.removeUnknown()
	}
	for _, answer := range s.answers {
		answer <- api.Report{}
	}
	c.timers.Set(task{kind: taskResync}, time.Now().Add(retryAfter))
}

// toInspect are the candidates and the members of rollouts. A known process that is neither has ended, or is no server any
// more.
func (c *surveys) toInspect(candidates []selector.PID) []selector.PID {
	now, isListed := time.Now(), make(map[selector.PID]bool, len(candidates))
	for _, pid := range candidates {
		isListed[pid] = true
	}
	for p := range c.registry.Processes() {
		switch m := c.rollouts.member(p.PID); {
		case isListed[p.PID]:
		case m != nil, c.deliveries.isUnderWay(p.PID):
			candidates = append(candidates, p.PID)
		default:
			c.reconciler.vanished(p.PID, now)
		}
	}
	c.registry.KeepOver(isListed)
	return selector.Plan(0, candidates)
}

// split ends the current resync although users hold it up. What it waits for becomes a survey for each of them.
func (c *surveys) split() {
	s := c.current
	now := time.Now()
	for _, all := range c.inspections.leave(s) {
		rest := newSurvey(api.ReasonServer, now)
		rest.holds = s.holds
		for _, in := range all {
			in.surveys = append(in.surveys, rest)
			rest.waiting[in.pid] = true
			s.servers = append(s.servers, c.deferred(in))
		}
		rest.isOpen = false
	}
	c.surveyed(s)
}

// deferred is what is reported of a process that is yet to be inspected.
func (c *surveys) deferred(in *inspection) api.Server {
	server := api.Server{PID: in.pid, UID: in.user.UID, Args: []string{}}
	if p := c.registry.Process(in.pid); p != nil {
		server = p.Server
	}
	server.Decision = selector.Decision{Verdict: selector.UnreadableFacts, Detail: deliver.ReasonDeferred, Stale: true}
	return server
}

// resynced takes the end of the current resync.
func (c *surveys) resynced(s *survey, now time.Time) {
	c.current, c.stage = nil, stageIdle
	c.timers.Remove(task{kind: taskSplit})
	for i := range c.registry.Installs() {
		if c.byInstall[i] == nil && (c.next == nil || !c.next.holds) {
			i.IsHeld = false
		}
		c.rollouts.surveyed(i)
	}
	if s.reason == api.ReasonLoss {
		c.lossThrottle.Done(s.started, now)
	}
	if s.reason == api.ReasonScan {
		c.scanThrottle.Done(s.started, now)
	}
	if next := c.next; next != nil {
		c.current, c.next, c.stage, next.started = next, nil, stageListing, now
		c.inbox.put(func(ctx context.Context) { c.list(ctx, next.reason) })
	}
}

// runResync does what is due of resyncs.
func (c *surveys) runResync(ctx context.Context, kind taskKind, now time.Time) {
	switch kind {
	case taskResync:
		if c.stage == stageBlind {
			c.resync(ctx, resyncRequest{reason: api.ReasonRetry, holds: true})
		} else {
			c.requestResync(ctx, now)
		}
	case taskScan:
		if at := c.scanThrottle.Next(now); at.After(now) {
			c.timers.Set(task{kind: taskScan}, at)
			return
		}
		if c.cfg.ScanEvery > 0 {
			c.timers.Set(task{kind: taskScan}, now.Add(c.cfg.ScanEvery))
		}
		c.resync(ctx, resyncRequest{reason: api.ReasonScan})
	case taskSplit:
		if c.stage == stageInspecting {
			c.split()
		}
	}
}
