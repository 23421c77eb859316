// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"fmt"
	"slices"
	"strings"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// Outcomes counts the states of a rollout's servers in one line.
func Outcomes(r rollout.Report) string { return inOneLine(rollout.States(), r.Servers) }

// Verdicts counts the verdicts of a report in one line.
func Verdicts(r api.Report) string {
	counts := make(map[selector.Verdict]int)
	for _, s := range r.Servers {
		counts[s.Verdict]++
	}
	return Counts(counts)
}

// Counts writes counts of verdicts in one line.
func Counts(counts map[selector.Verdict]int) string { return inOneLine(selector.Verdicts(), counts) }

// inOneLine writes the counts that are not 0, in the order of all words.
func inOneLine[T interface {
	comparable
	fmt.Stringer
}](all []T, counts map[T]int,
) string {
	var parts []string
	for _, word := range all {
		if n := counts[word]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, word))
		}
	}
	if len(parts) == 0 {
		return "no servers"
	}
	return strings.Join(parts, ", ")
}

// Remaining orders phases by how far they are from their end, the farthest first.
func Remaining(p rollout.Phase) int {
	return slices.Index([]rollout.Phase{
		rollout.PhaseCanary, rollout.PhaseRolling, rollout.PhasePaused, rollout.PhaseHalted, rollout.PhaseAbandoned, rollout.PhaseFailed, rollout.PhaseComplete, rollout.PhaseIdle,
	}, p)
}

// Merged makes one of several rollouts: their servers are counted together, the phase is the one that is farthest from its
// end, and the install is that of the latest.
func Merged(rollouts []rollout.Report) rollout.Report {
	all := rollout.Report{Phase: rollout.PhaseIdle, Servers: make(map[rollout.State]int)}
	for _, r := range rollouts {
		if Remaining(r.Phase) < Remaining(all.Phase) {
			all.Phase = r.Phase
		}
		for s, n := range r.Servers {
			all.Servers[s] += n
		}
		all.Number, all.Install, all.Started = r.Number, r.Install, r.Started
		all.Deaths += r.Deaths
		all.Halts = append(all.Halts, r.Halts...)
		all.Abandoned = append(all.Abandoned, r.Abandoned...)
		all.IsHaltedForAll = all.IsHaltedForAll || r.IsHaltedForAll
		all.Foreign = append(all.Foreign, r.Foreign...)
	}
	return all
}
