// SPDX-License-Identifier: MIT

package rollout

import "time"

// UserReport is the progress of a rollout for one user.
type UserReport struct {
	// Servers counts the user's servers by state, and as crashed those that died. Other ended ones are left out.
	Servers map[State]int
	// Deaths counts the deaths that the file may have caused.
	Deaths int
	// Late and LateCrashes are those of [Report], of the user's servers alone.
	Late        int
	LateCrashes []LateCrash
}

// byUser reports on each user that has or had servers.
func (l *ledger) byUser() map[uint32]UserReport {
	all := make(map[uint32]UserReport, len(l.users))
	for uid, u := range l.users {
		report := UserReport{Servers: make(map[State]int), Deaths: u.allDeaths(), Late: u.Late, LateCrashes: u.lateCrashes()}
		for _, g := range u.groups {
			for state, n := range g.counts {
				if n > 0 {
					report.Servers[State(state)] += n
				}
			}
		}
		if report.Deaths > 0 {
			report.Servers[Crashed] = report.Deaths
		}
		if len(report.Servers) > 0 || report.Late > 0 {
			all[uid] = report
		}
	}
	return all
}

// yieldsUntil is the end of [Limits.Yield] of the pending member that waits longest for it; zero: none does.
func (l *ledger) yieldsUntil() (last time.Time) {
	if l.cfg.Limits.Yield == 0 {
		return last
	}
	for _, m := range l.members {
		if end := m.Since.Add(l.cfg.Limits.Yield); m.State == Pending && end.After(last) {
			last = end
		}
	}
	return last
}
