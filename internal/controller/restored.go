// SPDX-License-Identifier: MIT

package controller

import (
	"context"
	"errors"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/registry"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// A controller that starts knows which servers the earlier process signalled, and waits for none of them. The first resync
// finds the installs of those that can be read. A server that cannot be read yet keeps its old rollout, and is bound to an
// install once it can be read, however many installs and restarts later that is. Without an install no server is signalled.

// restore takes up what an earlier process left behind, with those servers that still live.
func (c *Controller) restore(ctx context.Context) {
	saved := c.cfg.Saved
	if saved == nil {
		return
	}
	c.rollouts.number = saved.Number
	for _, one := range saved.Rollouts {
		r := &attached{}
		r.Rollout = rollout.Restore(c.rollouts.config(r), one)
		c.rollouts.byImage[one.Install.Image] = r
		for _, i := range c.registry.Fixed() {
			if i.Path == one.Install.Path && c.rollouts.at[i] == nil {
				r.installs = []*registry.Install{i}
				c.rollouts.at[i] = r
			}
		}
		for _, member := range one.Members {
			c.restoreMember(ctx, r, member)
		}
	}
	c.rollouts.keepsOrphans = true
	c.timers.Set(task{kind: taskOrphans}, time.Now().Add(c.cfg.ForgetAfter))
}

// restoreMember takes one in that may still live. An install that the operator named is that of all members of its rollout.
func (c *Controller) restoreMember(ctx context.Context, r *attached, saved rollout.Member) {
	m := &saved
	now := time.Now()
	id, user, err := c.deliver.Inspector.User(m.PID)
	switch {
	case !m.State.IsPersistent(), c.registry.Process(m.PID) != nil, errors.Is(err, selector.ErrGone), err == nil && id != m.Identity():
		return
	case err == nil:
		m.UID = user.UID
	default:
		user.UID = m.UID
	}
	p := c.registry.Put(api.Server{
		PID: m.PID, StartTime: m.StartTime, UID: m.UID, Args: []string{},
		Decision: selector.Decision{Verdict: selector.UnreadableFacts, Detail: registry.ReasonUnreported, Stale: true},
	}, selector.Process{Credentials: selector.Credentials{Owner: user}}, now)
	if len(r.installs) > 0 {
		c.registry.Assign(p, r.installs[0], now)
	} else {
		c.rollouts.traits.set(m.PID).restored = r
	}
	r.RestoreMember(saved)
	c.timers.Start(inspectTask(m.PID), now)
	if c.exits.isNeeded {
		if target, err := c.deliver.Pin(m.PID); err == nil { // an inspection finds one that is gone
			c.exits.watch(ctx, m.PID, target)
		}
	}
}

// bindRestored brings a restored member to the install that it is found to name, which gets its rollout until another file is
// reported there.
func (s *rollouts) bindRestored(p *registry.Process, to *registry.Install) {
	r := s.traits.of(p.PID).restored
	if r == nil {
		return
	}
	s.traits.set(p.PID).restored = nil
	m := r.Member(p.PID)
	if at := s.at[to]; at == nil || !to.IsReady() && at.Number() < r.Number() {
		s.join(to, r)
	}
	if m != nil && s.at[to] != r {
		s.carry(r, s.at[to], m)
	}
	s.touch(s.at[to])
	s.releaseRestored(r)
}

// hasUnbound reports whether a rollout has a member of which the install is yet to be found.
func (s *rollouts) hasUnbound(r *attached) bool {
	for m := range r.Members() {
		if p := s.registry.Process(m.PID); p == nil || p.Install == nil {
			return true
		}
	}
	return false
}

// kept are all rollouts of which something is kept.
func (s *rollouts) kept() map[*attached]bool {
	all := make(map[*attached]bool)
	for _, r := range s.byImage {
		all[r] = true
	}
	for _, t := range s.traits {
		if t.restored != nil {
			all[t.restored] = true
		}
	}
	return all
}

// dropOrphans forgets the restored rollouts without an install.
func (s *rollouts) dropOrphans() {
	s.keepsOrphans = false
	for _, r := range s.byImage {
		s.drop(r)
	}
}

// releaseRestored notes that a member has gone from a restored rollout. It may be the last that it was kept for.
func (s *rollouts) releaseRestored(r *attached) {
	if !s.keepsOrphans || s.byImage[r.Install().Image] != r {
		s.drop(r)
	}
}

// drop forgets a rollout without an install, unless a member of it is yet to be bound, or it was abandoned.
func (s *rollouts) drop(r *attached) {
	switch {
	case len(r.installs) > 0 || s.hasUnbound(r):
		return
	case s.isAbandonedFile(r):
		s.trimAbandoned()
		return
	}
	if image := r.Install().Image; s.byImage[image] == r {
		delete(s.byImage, image)
	}
	s.persist.forget(r)
}
