// SPDX-License-Identifier: MIT

package rollout

import "time"

// waitFor has a busy member that could be signalled wait for a quiet moment, and reports whether it is to wait on.
func (r *Rollout) waitFor(m *Member, g *group, now time.Time) bool {
	if m.BusySince.IsZero() {
		m.BusySince = now
		g.isWaiting = true
		if now.Before(r.quietEnd(m, g)) {
			r.cfg.Moved(*m, m.State)
		}
	}
	return now.Before(r.quietEnd(m, g))
}

// quietEnd is until when a busy member is waited for.
func (r *Rollout) quietEnd(m *Member, g *group) time.Time {
	l := r.cfg.Limits
	within := l.QuietWithin
	if g.isOpen && l.Canary > 0 {
		within = min(within, quietWithinOpen)
	}
	end, hurry := m.BusySince.Add(within), r.started.Add(l.QuietBy)
	switch {
	case l.QuietBy == 0 || !m.BusySince.Before(hurry):
		return end
	case !g.isOpen && l.Canary > 0:
		return m.BusySince // the others need the time
	}
	return earliest(end, hurry)
}

// stopWaiting has the pending members of a group wait anew when they can be signalled again.
func (g *group) stopWaiting() {
	if !g.isWaiting {
		return
	}
	g.isWaiting = false
	for _, m := range g.queue {
		m.BusySince = time.Time{}
	}
}

// stopWaiting does so in the groups of a user that are closed.
func (u *user) stopWaiting() {
	for _, g := range u.groups {
		if !g.isOpen {
			g.stopWaiting()
		}
	}
}
