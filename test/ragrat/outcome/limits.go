// SPDX-License-Identifier: MIT

package outcome

import "fmt"

// limit bounds the cost of scenarios in modes. Scenarios without a limit are reported only.
type limit struct {
	scenarios []string
	modes     []Mode
	// least and most bound the number of lost sessions.
	least, most int
	// missed bounds the number of servers that stay on the old file.
	missed int
	// phase is the required last phase of the rollout; empty for any.
	phase string
}

// unlimited is a bound that every number meets.
const unlimited = 1 << 30

// limits lists all limits.
func limits() []limit {
	withService := []Mode{Hurry, Gate}
	return []limit{
		{scenarios: []string{"good-1w", "good-5w"}, modes: withService},
		{scenarios: []string{"good-2w", "newer-1w", "newer-2w", "newer-5w"}, modes: []Mode{Gate}},
		// Without the gate one worktree is protected: the canary is the elected server, which would signal the others.
		{scenarios: []string{"exit1-1w"}, modes: []Mode{Hurry}, most: 1, missed: unlimited},
		{
			scenarios: []string{"exit1-1w", "exit1-2w", "exit1-5w", "exit0-2w", "hang-2w", "nolib-2w"}, modes: []Mode{Gate},
			least: 1, most: 1, missed: unlimited, phase: "halted",
		},
		{scenarios: []string{"truncated-2w"}, modes: []Mode{Gate}, most: 1, missed: unlimited},
		{
			scenarios: []string{"no-initialize", "no-config", "no-variable", "two-users-shared-good", "two-users-own-good"},
			modes:     []Mode{Gate},
		},
		{scenarios: []string{"two-users-shared-exit1", "two-users-own-exit1"}, modes: []Mode{Gate}, least: 1, most: 2, missed: unlimited},
		{scenarios: []string{"restarted-good", "killed-good", "paused-good"}, modes: []Mode{Gate}},
	}
}

// Limited lists the scenarios that have a limit in some mode.
func Limited() []string {
	var names []string
	for _, l := range limits() {
		names = append(names, l.scenarios...)
	}
	return names
}

// Broken has a line for each broken limit.
func Broken(results []Result) []string {
	var lines []string
	for _, r := range results {
		for _, l := range limits() {
			if l.holdsFor(r) {
				lines = append(lines, l.broken(r)...)
			}
		}
	}
	return lines
}

func (l limit) holdsFor(r Result) bool {
	for _, s := range l.scenarios {
		for _, m := range l.modes {
			if s == r.Scenario && m == r.Mode {
				return true
			}
		}
	}
	return false
}

func (l limit) broken(r Result) []string {
	var lines []string
	add := func(format string, args ...any) {
		lines = append(lines, fmt.Sprintf("%s, %s, %s to %s: ", r.Scenario, r.Mode, r.From, r.To)+fmt.Sprintf(format, args...))
	}
	if n := r.LostSessions(); n < l.least || n > l.most {
		add("%d of %d sessions lost, want %s", n, r.Sessions, bounds(l.least, l.most))
	}
	if r.Missed > l.missed {
		add("servers missed: %d, want %s", r.Missed, bounds(0, l.missed))
	}
	if l.phase != "" && r.Phase != l.phase {
		add("the rollout is %q, want %q", r.Phase, l.phase)
	}
	return lines
}

func bounds(least, most int) string {
	if least == most {
		return fmt.Sprint(most)
	}
	return fmt.Sprintf("%d to %d", least, most)
}
