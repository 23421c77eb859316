// SPDX-License-Identifier: MIT

package controller

import (
	"cmp"
	"context"
	"slices"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/registry"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// survey is a set of processes that are inspected for one reason, and reported together.
type survey struct {
	reason  api.Reason
	started time.Time
	// waiting are those that are yet to be inspected, and servers those that were.
	waiting map[selector.PID]bool
	servers []api.Server
	// isOpen says that processes are still being added.
	isOpen bool
	// holds says that no server of a user is signalled before the user's processes were inspected.
	holds bool
	// install is the one that these are the members of; nil: any.
	install *registry.Install
	// answers get the report.
	answers []chan<- api.Report
}

func newSurvey(reason api.Reason, now time.Time) *survey {
	return &survey{reason: reason, started: now, waiting: make(map[selector.PID]bool), isOpen: true}
}

func (s *survey) isDone() bool { return !s.isOpen && len(s.waiting) == 0 }

// inspectAll has workers inspect processes, and reports on them once it is done.
func (c *surveys) inspectAll(s *survey, pids []selector.PID, isUrgent bool) {
	for _, pid := range pids {
		c.inspections.want(pid, s, isUrgent)
	}
	c.inspections.lookUp()
	s.isOpen = false
	if s.isDone() {
		c.surveyed(s)
	}
}

// inspectDue inspects processes that are due: those of each user by themselves, so that none waits for another user's.
func (c *surveys) inspectDue(due []selector.PID, now time.Time) {
	byUser := make(map[selector.User][]selector.PID)
	for _, pid := range due {
		user := noUser
		if p := c.registry.Process(pid); p != nil {
			user = p.User
		}
		byUser[user] = append(byUser[user], pid)
	}
	for _, pids := range byUser {
		c.inspectAll(newSurvey(api.ReasonServer, now), pids, false)
	}
}

// inspectMembers inspects all that name an install, before any of them is signalled. Where the operator named it, that may be
// any process.
func (c *surveys) inspectMembers(ctx context.Context, i *registry.Install, reason api.Reason, now time.Time) {
	i.IsHeld = true
	if !c.registry.Learns() && slices.ContainsFunc(c.registry.Fixed(), (*registry.Install).IsReady) {
		c.resync(ctx, resyncRequest{reason: reason, holds: true})
		return
	}
	s := newSurvey(reason, now)
	s.install = i
	c.byInstall[i] = s
	pids := make([]selector.PID, 0, i.Len())
	for p := range i.Members() {
		pids = append(pids, p.PID)
	}
	slices.Sort(pids)
	c.inspectAll(s, pids, true)
}

// surveyed takes the end of a survey.
func (c *surveys) surveyed(s *survey) {
	now := time.Now()
	switch {
	case s == c.current:
		c.resynced(s, now)
	case s.install != nil && c.byInstall[s.install] == s:
		delete(c.byInstall, s.install)
		s.install.IsHeld = false
		c.rollouts.surveyed(s.install)
	}
	c.report(s, now)
}

// report tells what a survey found.
func (c *surveys) report(s *survey, now time.Time) {
	report := api.NewReport(c.cfg.Source, c.deliver.Self, c.registry.Files())
	report.Servers = append(report.Servers, s.servers...)
	slices.SortFunc(report.Servers, func(a, b api.Server) int { return cmp.Compare(a.PID, b.PID) })
	due := []selector.PID{}
	for i := range report.Servers {
		if m := c.rollouts.member(report.Servers[i].PID); m != nil && m.State == rollout.Pending {
			due = append(due, m.PID)
		}
	}
	report.Plan = selector.Plan(c.deliver.Self, due)
	c.cfg.Observer.Round(s.reason, report, now.Sub(s.started))
	for _, answer := range s.answers {
		answer <- report
	}
	s.answers = nil
}

// refreshWithin is how long a trigger waits for installs on slow file systems. They are reported once they answer.
const refreshWithin = 400 * time.Millisecond

// refresh has workers inspect the installs at a path, and closes done after the last one. An empty path is that of all that the
// operator named.
func (c *surveys) refresh(path string, done chan<- struct{}) {
	waiting := 1
	end := func() {
		if waiting--; waiting == 0 {
			close(done)
		}
	}
	for i := range c.registry.Installs() {
		if path != i.Path && (path != "" || c.registry.Learns()) {
			continue
		}
		waiting++
		c.deliveries.checks.Submit(i.Owner, func() {
			file := c.cfg.Installs.Refresh(i.Key)
			c.inbox.put(func(ctx context.Context) {
				if file.State == selector.StateReady {
					c.reconciler.updated(ctx, InstallUpdate{i.Key, file})
				}
				end()
			})
		})
	}
	end()
}
