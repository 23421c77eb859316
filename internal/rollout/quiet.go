// SPDX-License-Identifier: MIT

package rollout

import (
	"fmt"
	"time"
)

// waitFor has a member that could be signalled wait for a quiet moment, and reports whether it is to wait on. It is told
// once that the member is busy.
func (r *Rollout) waitFor(m *Member, g *group, now time.Time, says Permission) bool {
	g.isWaiting = true
	if m.waitsSince.IsZero() {
		m.waitsSince = now
	}
	isWaiting := now.Before(r.quietEnd(m, g))
	if says == Busy && m.BusySince.IsZero() {
		m.BusySince = m.waitsSince
		if isWaiting {
			m.Detail = "busy"
			r.cfg.Moved(*m, m.State)
		}
	}
	return isWaiting
}

// quietEnd is until when a member is waited for.
func (r *Rollout) quietEnd(m *Member, g *group) time.Time {
	l := r.cfg.Limits
	within := l.QuietWithin
	if g.isOpen && l.Canary > 0 {
		within = min(within, quietWithinOpen)
	}
	end, hurry := m.waitsSince.Add(within), r.started.Add(l.QuietBy)
	switch {
	case l.QuietBy == 0 || !m.waitsSince.Before(hurry):
		return end
	case r.mustGo(g, m.waitsSince):
		return m.waitsSince
	}
	return earliest(end, hurry)
}

// mustGo reports whether a canary of a group cannot be waited for: the others need what time there is.
func (r *Rollout) mustGo(g *group, now time.Time) bool {
	l := r.cfg.Limits
	return l.QuietBy > 0 && !g.isOpen && l.Canary > 0 && now.Before(r.started.Add(l.QuietBy))
}

// StopWaiting notes that no member is signalled at present, for a reason that the rollout does not know. Pending members
// wait for a quiet moment anew when Next is called again: it is not known whether they were busy meanwhile.
func (r *Rollout) StopWaiting() {
	for _, g := range r.groups {
		g.stopWaiting()
	}
}

// stopWaiting has the pending members of a group wait anew when they can be signalled again.
func (g *group) stopWaiting() {
	if !g.isWaiting {
		return
	}
	g.isWaiting = false
	for _, m := range g.queue {
		m.waitsSince = time.Time{}
		if !m.BusySince.IsZero() {
			m.BusySince, m.Detail = time.Time{}, ""
		}
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

// Busy says for how long a pending member has been waited for that is busy; it is empty for any other.
func (m *Member) Busy(now time.Time) string {
	if m.BusySince.IsZero() {
		return ""
	}
	return "busy for " + tenths(now.Sub(m.BusySince))
}

// noteWait keeps how long a member was waited for that is signalled now.
func (m *Member) noteWait(now time.Time) {
	m.Waited, m.Detail = 0, ""
	if m.BusySince.IsZero() {
		return
	}
	waited := now.Sub(m.BusySince)
	m.Waited, m.Detail = Seconds(waited), "idle after "+tenths(waited)
	if m.Overran {
		m.Detail = fmt.Sprintf("still busy after %s", tenths(waited))
	}
}

// tenths is precise enough for a person.
func tenths(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// Waits is how many members are busy and waited for, and since when the longest.
type Waits struct {
	Servers int       `json:"servers"`
	Since   time.Time `json:"since"`
}

// waits counts the pending members that are busy.
func (r *Rollout) waits() Waits {
	var w Waits
	for _, g := range r.groups {
		if !g.isWaiting {
			continue
		}
		for _, m := range g.queue {
			if r.isQueued(m, g) && !m.BusySince.IsZero() {
				w.Servers++
				w.Since = earliest(w.Since, m.BusySince)
			}
		}
	}
	return w
}
