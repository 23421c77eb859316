// SPDX-License-Identifier: MIT

package upgrade

import (
	"time"

	"ebpf-upgrader/selector"
)

// seen takes what a look at a living server found, which names the place home.
func (r *rollout) seen(p selector.Process, d selector.Decision, home *place, now time.Time) {
	m := r.members[p.PID]
	if m == nil {
		m = &Member{PID: p.PID, StartTime: p.StartTime, Rollout: r.number}
	}
	m.home, m.gone = home, false
	if m.State == None || m.State == Pending || m.State == Skipped {
		m.ran = p.Image
	}
	m.UID = p.Credentials.Owner
	switch m.State {
	case None, Pending, Skipped:
		r.judged(m, d, now)
	case Notified, Stayed, Staying:
		if m.carried && (m.execed || m.replacedBy(p)) {
			r.drop(m)
			r.seen(p, d, home, now) // as one that was not asked
			return
		}
		r.waited(m, p, d, now)
	case Holding:
		r.held(m, d, now)
	}
}

// judged takes the verdict on one that was not asked.
func (r *rollout) judged(m *Member, d selector.Decision, now time.Time) {
	changed := m.Verdict != d.Verdict
	r.note(m, d)
	switch {
	case d.Verdict == selector.Outdated:
		r.step(m, FoundOutdated, now)
	case d.Stale && m.State == Skipped && changed:
		r.moved(*m, Skipped)
	case d.Stale:
		r.step(m, TurnedDown, now)
	default:
		r.step(m, FoundCurrent, now)
	}
}

// unread takes a look that told nothing. Who is to be asked must be looked at again before.
func (r *rollout) unread(m *Member, d selector.Decision, now time.Time) {
	if m.State == Pending {
		r.note(m, d)
		r.step(m, TurnedDown, now)
	}
}

// waited takes a look at one that was asked. An exec that no event told shows in the image.
func (r *rollout) waited(m *Member, p selector.Process, d selector.Decision, now time.Time) {
	switch {
	case m.replacedBy(p):
		r.execed(m.PID, now)
	case m.State == Notified && now.Sub(m.AskedAt) >= r.limits.ConfirmTimeout:
		r.note(m, d)
		if m.Attempts >= r.limits.MaxAttempts {
			r.step(m, GaveUp, now)
		} else {
			r.step(m, TimedOut, now)
		}
	case m.State == Stayed && d.Verdict == selector.Outdated && r.retryDue(m, now):
		r.step(m, FoundOutdated, now)
	}
}

// held takes a look at one that has exec'd after it was asked. What it runs now need not be the
// installed file, which may be a script; but a server it must be.
func (r *rollout) held(m *Member, d selector.Decision, now time.Time) {
	if now.Sub(m.Since) < r.limits.Hold {
		return
	}
	r.note(m, d)
	if d.Verdict == selector.NotOurs || d.Verdict == selector.NotMCP {
		m.Detail = "has become something else"
		r.step(m, Quit, now)
		return
	}
	r.step(m, Held, now)
}

// replacedBy reports whether it runs another image than when it was asked.
func (m *Member) replacedBy(p selector.Process) bool { return p.Image.Known() && p.Image != m.ran }

func (r *rollout) retryDue(m *Member, now time.Time) bool {
	return now.Sub(m.AskedAt) >= r.limits.RetryAfter
}

func (r *rollout) note(m *Member, d selector.Decision) { m.Verdict, m.Detail = d.Verdict, d.Detail }
