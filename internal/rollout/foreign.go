// SPDX-License-Identifier: MIT

package rollout

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"ebpf-upgrader/selector"
)

// ObserveForeign takes an inspection of a server that exec'd after a signal of another sender which was not recorded:
// the file had not settled then, or no event reported the signal. If the server runs the installed image and is not
// armed, it must arm itself like a server that was signalled. ObserveForeign reports whether the rollout waits for that
// from now on. sender is 0 if it is unknown.
func (r *Rollout) ObserveForeign(p selector.Process, d selector.Decision, sender selector.PID, at, now time.Time) bool {
	if p.Image != r.install.Image || d.Verdict != selector.UpToDate || p.Catches {
		return false
	}
	m := r.memberOf(p, RankUsual)
	if _, moves := m.State.after(FoundUnarmed); !moves {
		return false
	}
	m.setVerdict(d)
	m.Ran, m.SignalledAfter = p.Image, at
	m.ByOther, m.Sender, m.SignalledAt, m.Carried, m.execed, m.Canary = true, sender, at, false, true, false
	r.step(m, FoundUnarmed, now)
	return true
}

// overdueSince is when the first member became overdue, a timeout after its exec.
func (g *group) overdueSince(timeout time.Duration) (first time.Time) {
	for _, m := range g.inFlight {
		if at := m.Since.Add(timeout); m.isOverdue && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}

// overdueReasons returns why a group is halted while members of it are overdue.
func (g *group) overdueReasons(timeout time.Duration) []string {
	senders := make(map[selector.PID]int)
	for _, m := range g.inFlight {
		if m.isOverdue && m.ByOther {
			senders[m.Sender]++
		}
	}
	all := []string{}
	own := g.overdue
	for _, sender := range slices.Sorted(maps.Keys(senders)) {
		own -= senders[sender]
		all = append(all, fmt.Sprintf("servers that run the new image after signals of %s, are not armed after %s: %d",
			describeSender(sender), timeout, senders[sender]))
	}
	if own > 0 {
		all = append(all, fmt.Sprintf("a server that runs the new image is not armed after %s", timeout))
	}
	return all
}
