// SPDX-License-Identifier: MIT

package controller

import (
	"context"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/selector"
)

// trigger is an operator's command to inspect installs and processes now.
type trigger struct {
	number uint64
	// waiting is how many installs workers inspect.
	waiting  int
	hasBegun bool
	answer   chan<- api.Report
}

// refreshWithin is how long a trigger waits for installs on slow file systems. They are reported once they answer.
const refreshWithin = 400 * time.Millisecond

// trigger has workers inspect the installs at a path, then resyncs. An empty path is that of all that the operator named.
func (c *surveys) trigger(ctx context.Context, path string, answer chan<- api.Report) {
	c.triggers++
	t := &trigger{number: c.triggers, answer: answer}
	for i := range c.registry.Installs() {
		if path != i.Path && (path != "" || c.registry.Learns()) {
			continue
		}
		t.waiting++
		c.deliveries.checks.Submit(i.Owner, func() {
			file := c.cfg.Installs.Refresh(i.Key)
			c.inbox.put(func(ctx context.Context) { c.refreshed(ctx, t, InstallUpdate{i.Key, file}) })
		})
	}
	if t.waiting == 0 {
		c.beginTrigger(ctx, t)
		return
	}
	c.pendingTriggers[t.number] = t
	c.timers.Set(task{kind: taskTrigger, number: t.number}, time.Now().Add(refreshWithin))
}

// refreshed takes an install that was inspected for a trigger.
func (c *surveys) refreshed(ctx context.Context, t *trigger, u InstallUpdate) {
	if u.File.State == selector.StateReady {
		c.reconciler.updated(ctx, u)
	}
	if t.waiting--; t.waiting == 0 {
		c.beginTrigger(ctx, t)
	}
}

// beginTrigger resyncs for a trigger, once.
func (c *surveys) beginTrigger(ctx context.Context, t *trigger) {
	if t.hasBegun {
		return
	}
	t.hasBegun = true
	delete(c.pendingTriggers, t.number)
	c.timers.Remove(task{kind: taskTrigger, number: t.number})
	c.resync(ctx, resyncRequest{reason: api.ReasonTrigger, answer: t.answer})
}
