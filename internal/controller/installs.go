// SPDX-License-Identifier: MIT

package controller

import (
	"context"
	"reflect"
	"sync/atomic"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/registry"
)

// updated takes what is installed by now. While a delivery for the install is under way it waits for the result.
func (c *reconciler) updated(ctx context.Context, u InstallUpdate) {
	i := c.registry.Install(u.Key)
	if i == nil || c.deliveries.keepUpdate(i, u) { // nil: forgotten meanwhile
		return
	}
	if !i.ReportedAt.IsZero() && reflect.DeepEqual(i.File, u.File) {
		return
	}
	now := time.Now()
	i.File, i.ReportedAt, i.CheckedAt = u.File, now, new(atomic.Int64)
	c.timers.Remove(task{kind: taskRecheck, key: i.Key})
	c.rollouts.attach(i, now)
	c.surveys.inspectMembers(ctx, i, api.ReasonInstall, now)
}

// recheck plans an inspection of all that name an install of which the file was found changed. None of them is signalled
// before.
func (c *reconciler) recheck(i *registry.Install, now time.Time) {
	i.IsHeld = true
	c.timers.Set(task{kind: taskRecheck, key: i.Key}, now.Add(retryAfter))
}

// planForget plans to forget an install once no process has named it for long.
func (c *reconciler) planForget(i *registry.Install) {
	if at := c.registry.ForgetAt(i); !at.IsZero() {
		c.timers.Set(task{kind: taskForget, key: i.Key}, at)
	}
}

// forgetUnnamed forgets an install unless a process names it by now.
func (c *reconciler) forgetUnnamed(i *registry.Install, now time.Time) {
	at := c.registry.ForgetAt(i)
	switch {
	case at.IsZero():
	case at.After(now):
		c.planForget(i)
	default:
		c.registry.Forget(i)
		c.dropInstall(i)
	}
}

// dropInstall ends the watch on an install that the registry has forgotten.
func (c *reconciler) dropInstall(i *registry.Install) {
	c.cfg.Installs.Forget(i.Key)
	c.timers.Remove(task{kind: taskForget, key: i.Key})
	c.timers.Remove(task{kind: taskRecheck, key: i.Key})
	delete(c.surveys.byInstall, i)
	c.rollouts.detach(i)
}
