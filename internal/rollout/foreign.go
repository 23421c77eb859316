// SPDX-License-Identifier: MIT

package rollout

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"ebpf-upgrader/selector"
)

// ObserveForeign takes an inspection of a server that exec'd after the signal of another sender that the rollout did not note: the file
// had not settled then, or nothing told of the signal. One that runs the installed image and is not armed has to arm itself
// like one that was signalled. ObserveForeign reports whether that is waited for from now on. sender is 0 where it is not known.
func (r *Rollout) ObserveForeign(p selector.Process, d selector.Decision, sender selector.PID, at, now time.Time) bool {
	if p.Image != r.install.Image || d.Verdict != selector.UpToDate || p.Catches {
		return false
	}
	m := r.members[p.PID]
	if m == nil {
		m = &Member{PID: p.PID, StartTime: p.StartTime, Rollout: r.number, rank: RankUsual, Group: GroupOf(p), UID: p.Credentials.Owner}
	}
	if _, moves := m.State.after(FoundUnarmed); !moves {
		return false
	}
	r.note(m, d)
	m.ran, m.before = p.Image, at
	m.ByOther, m.Sender, m.SignalledAt, m.carried, m.execed, m.Canary = true, sender, at, false, true, false
	r.step(m, FoundUnarmed, now)
	return true
}

// overdueReasons say why a group is halted that has members which are not armed in time.
func (g *group) overdueReasons() []string {
	senders := make(map[selector.PID]int)
	for _, m := range g.flight {
		if m.isOverdue && m.ByOther {
			senders[m.Sender]++
		}
	}
	all := []string{}
	own := g.overdue
	for _, sender := range slices.Sorted(maps.Keys(senders)) {
		own -= senders[sender]
		all = append(all, fmt.Sprintf("servers that run the new image after signals of %s, are not armed after %s: %d",
			describeSender(sender), ArmTimeout, senders[sender]))
	}
	if own > 0 {
		all = append(all, fmt.Sprintf("a server that runs the new image is not armed after %s", ArmTimeout))
	}
	return all
}
