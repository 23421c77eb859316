// SPDX-License-Identifier: MIT

package rollout

import (
	"fmt"
	"time"
)

// waitsForQuiet reports whether a member that may be signalled waits on for a quiet moment. It reports to
// [Config.Moved] once that the member is busy.
func (t *turn) waitsForQuiet(m *Member, g *group, permission Permission) bool {
	g.hasWaiting = true
	if m.waitsSince.IsZero() {
		m.waitsSince = t.now
	}
	isWaiting := t.now.Before(t.quietEnd(m, g))
	if permission == Busy && m.BusySince.IsZero() {
		m.BusySince = m.waitsSince
		if isWaiting {
			m.Detail = "busy"
			t.cfg.Moved(*m, m.State)
		}
	}
	return isWaiting
}

// quietEnd returns until when a member waits for a quiet moment at most; see [Limits.QuietWithin] and [Limits.QuietBy].
func (t *turn) quietEnd(m *Member, g *group) time.Time {
	l := t.cfg.Limits
	within := l.QuietWithin
	if g.isOpen && l.Canary > 0 {
		within = min(within, quietWithinOpen)
	}
	end, deadline := m.waitsSince.Add(within), t.started.Add(l.QuietBy)
	switch {
	case l.QuietBy == 0 || !m.waitsSince.Before(deadline):
		return end
	case !g.isOpen && l.Canary > 0:
		return m.waitsSince // a canary does not wait: the others need the time until the deadline
	}
	return earliest(end, deadline)
}

// resetWaits ends the waits of a group's members. They begin again when the members may be signalled next.
func (g *group) resetWaits() {
	if !g.hasWaiting {
		return
	}
	g.hasWaiting = false
	for _, m := range g.queue {
		m.waitsSince = time.Time{}
		if !m.BusySince.IsZero() {
			m.BusySince, m.Detail = time.Time{}, ""
		}
	}
}

// StopWaiting records that no member is signalled at present, for a reason that the rollout does not know. The waits
// for a quiet moment begin again when Next is called: whether the members were busy meanwhile is unknown.
func (r *Rollout) StopWaiting() {
	for _, g := range r.groups {
		g.resetWaits()
	}
}

// Busy says in words for how long a pending member has waited because it is busy; "": it does not wait.
func (m *Member) Busy(now time.Time) string {
	if m.BusySince.IsZero() {
		return ""
	}
	return "busy for " + tenths(now.Sub(m.BusySince))
}

// recordWait records how long a member has waited that is signalled now.
func (m *Member) recordWait(now time.Time) {
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

// tenths formats a duration in seconds with one decimal.
func tenths(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// Waits counts the members that wait because they are busy. Since is when the longest wait began.
type Waits struct {
	Servers int       `json:"servers"`
	Since   time.Time `json:"since"`
}

// waits counts the pending members that wait because they are busy.
func (l *ledger) waits() Waits {
	var w Waits
	for _, g := range l.groups {
		if !g.hasWaiting {
			continue
		}
		for _, m := range g.queue {
			if l.isQueued(m, g) && !m.BusySince.IsZero() {
				w.Servers++
				w.Since = earliest(w.Since, m.BusySince)
			}
		}
	}
	return w
}
