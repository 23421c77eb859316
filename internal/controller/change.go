// SPDX-License-Identifier: MIT

package controller

import (
	"cmp"
	"context"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/deliver"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// Live is what can change while a controller runs: the fields of [Config] with the same names, and what selects servers.
type Live struct {
	Limits                         rollout.Limits
	Selection                      selector.Selection
	Quiet                          Idleness
	ForgetAfter, ScanEvery         time.Duration
	MaxPerUser, MaxInstallsPerUser int
}

// Change replaces all that can change, between two steps of the loop. Rollouts keep what has happened: proofs, deaths and halts.
// A server that is not selected any more is not signalled any more; one that was signalled is followed to its end. All
// candidates are inspected anew, and no server is signalled before those of its user were.
func (c *Controller) Change(ctx context.Context, l Live) error {
	return c.do(ctx, func(ctx context.Context) {
		isOtherScan := c.cfg.ScanEvery != l.ScanEvery
		c.cfg.Limits, c.cfg.Quiet, c.cfg.ScanEvery = l.Limits, l.Quiet, l.ScanEvery
		c.cfg.ForgetAfter = cmp.Or(l.ForgetAfter, DefaultForgetAfter)
		c.cfg.Deliverer.Change(deliver.Live{Selection: l.Selection, RetryAfter: l.Limits.RetryAfter})
		c.timers.SetPatience(l.Limits.ConfirmTimeout)
		c.registry.SetLimits(l.MaxPerUser, cmp.Or(l.MaxInstallsPerUser, DefaultMaxInstallsPerUser), c.cfg.ForgetAfter)
		c.planner.limits, c.planner.quiet = l.Limits, l.Quiet
		c.rollouts.cfg.Limits = l.Limits
		for r := range c.rollouts.kept() {
			r.SetLimits(l.Limits)
			c.rollouts.touch(r)
		}
		if isOtherScan && l.ScanEvery > 0 {
			c.timers.Set(task{kind: taskScan}, time.Now().Add(min(l.ScanEvery, selector.ForkAge)))
		}
		c.surveys.resync(ctx, resyncRequest{reason: api.ReasonReload, holds: true})
	})
}
