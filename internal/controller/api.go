// SPDX-License-Identifier: MIT

package controller

import (
	"cmp"
	"context"
	"slices"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// do runs f in the goroutine of Run and waits for it.
func (c *Controller) do(ctx context.Context, f func(context.Context)) error {
	done := make(chan struct{})
	request := func(ctx context.Context) {
		defer close(done)
		f(ctx)
	}
	select {
	case c.requests <- request:
	case <-ctx.Done():
		return ctx.Err()
	case <-c.stopped:
		return ErrEnded
	}
	<-done
	return nil
}

// Status says what the controller does now. It waits for the step at hand, and fails only when ctx or Run ends.
func (c *Controller) Status(ctx context.Context) (status api.Status, err error) {
	err = c.do(ctx, func(context.Context) {
		status = api.Status{
			Source: c.cfg.Source, Learned: c.registry.Learns(), Installs: c.installs(), JournalError: c.rollouts.persist.problem(), Verdicts: make(map[selector.Verdict]int), Rollouts: c.rollouts.current(),
		}
		status.SetPauses(c.rollouts.pauses)
		for p := range c.registry.Processes() {
			if !p.ExecedOther && api.IsServer(p.Server) {
				status.Verdicts[p.Verdict]++
			}
		}
		if over := len(c.registry.Over()); over > 0 {
			status.Verdicts[selector.OverLimit] += over
		}
	})
	return status, err
}

// installs are sorted by path, and then by user.
func (c *Controller) installs() []api.InstallStatus {
	all := []api.InstallStatus{}
	for i := range c.registry.Installs() {
		status := api.InstallStatus{Install: i.File, UID: i.Owner.UID, Deaths: len(c.rollouts.early[i])}
		if r := c.rollouts.at[i]; r != nil {
			status.Rollout = r.Number()
		}
		for p := range i.Members() {
			status.Container = p.Container
			if p.Verdict != selector.OtherInstall { // these have one as well where the operator named it
				status.Servers++
			}
		}
		all = append(all, status)
	}
	slices.SortFunc(all, func(a, b api.InstallStatus) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.UID, b.UID), cmp.Compare(a.Container, b.Container))
	})
	return all
}

// Servers lists the servers that the controller knows, ascending by PID.
func (c *Controller) Servers(ctx context.Context) (servers []api.ServerStatus, err error) {
	err = c.do(ctx, func(context.Context) {
		servers = []api.ServerStatus{}
		why, runs := c.reasons(time.Now()), c.builds()
		for p := range c.registry.Processes() {
			if !p.ExecedOther && api.IsServer(p.Server) {
				servers = append(servers, api.ServerStatus{Server: p.Server, Rollout: c.memberStatus(p.PID), Wait: why(p.PID), Runs: runs(p.Image)})
			}
		}
		for _, f := range c.registry.Over() {
			servers = append(servers, api.ServerStatus{Server: f})
		}
	})
	slices.SortFunc(servers, func(a, b api.ServerStatus) int { return cmp.Compare(a.PID, b.PID) })
	return servers, err
}

// builds returns a function that says what the file of an image says of itself.
func (c *Controller) builds() func(selector.Image) selector.Build {
	known := make(map[selector.Image]selector.Build)
	return func(image selector.Image) selector.Build {
		b, isKnown := known[image]
		if !isKnown && c.cfg.BuildOf != nil {
			b = c.cfg.BuildOf(image)
			known[image] = b
		}
		return b
	}
}

// memberStatus is what the rollout of a process knows of it, with the reason why it waits; nil: it is in none.
func (c *Controller) memberStatus(pid selector.PID) *rollout.Member {
	m := c.rollouts.member(pid)
	if m == nil {
		return nil
	}
	status := *m
	status.Detail = cmp.Or(m.Busy(time.Now()), m.Detail)
	if m.State == rollout.Pending {
		status.Detail = cmp.Or(c.rollouts.persist.problem(), status.Detail)
	}
	return &status
}

// Rollouts lists the latest rollouts that are over, and then those under way.
func (c *Controller) Rollouts(ctx context.Context) (rollouts []rollout.Report, err error) {
	err = c.do(ctx, func(context.Context) {
		rollouts = append(slices.Clone(c.rollouts.history), c.rollouts.current()...)
	})
	return rollouts, err
}

// Trigger inspects the installs at path and all processes now; an empty path is every install. Outdated servers are signalled
// in their turn, self last if it is not 0. The report has the servers, and in Plan those that are to be signalled. It comes
// within a second: servers that are slow to be read are in it as unreadable.
func (c *Controller) Trigger(ctx context.Context, path string, self selector.PID) (api.Report, error) {
	refreshed, answer := make(chan struct{}), make(chan api.Report, 1)
	err := c.do(ctx, func(context.Context) {
		for _, r := range c.rollouts.byImage {
			if self != 0 {
				r.SetSelf(self)
			}
		}
		c.surveys.refresh(path, refreshed)
	})
	if err != nil {
		return api.Report{}, err
	}
	select {
	case <-refreshed:
	case <-time.After(refreshWithin):
	}
	isFiltered := false
	err = c.do(ctx, func(ctx context.Context) {
		isFiltered = path != "" && c.registry.Learns()
		c.surveys.resync(ctx, resyncRequest{reason: api.ReasonTrigger, answer: answer})
	})
	if err != nil {
		return api.Report{}, err
	}
	select {
	case report := <-answer:
		if isFiltered {
			report = report.Only(func(s api.Server) bool { return s.UpgradeBin == path })
		}
		return report, nil
	case <-ctx.Done():
		return api.Report{}, ctx.Err()
	case <-c.stopped:
		return api.Report{}, ErrEnded
	}
}
