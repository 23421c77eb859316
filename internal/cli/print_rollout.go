// SPDX-License-Identifier: MIT

package cli

import (
	"fmt"
	"slices"
	"strings"

	"ebpf-upgrader/internal/controller"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// outcomes counts the states of a rollout's servers in one line.
func outcomes(r rollout.Report) string {
	var parts []string
	for _, s := range rollout.States() {
		if n := r.Servers[s]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
		}
	}
	if len(parts) == 0 {
		return "nobody"
	}
	return strings.Join(parts, ", ")
}

// byDistance orders the phases by how far they are from their end.
var byDistance = []rollout.Phase{
	rollout.PhaseCanary, rollout.PhaseRolling, rollout.PhasePaused, rollout.PhaseHalted, rollout.PhaseFailed, rollout.PhaseComplete, rollout.PhaseIdle,
}

// merged makes one of several rollouts: their servers counted together, in the phase that is
// the farthest from its end, and with the install of the latest.
func merged(rollouts []rollout.Report) rollout.Report {
	all := rollout.Report{Phase: rollout.PhaseIdle, Servers: make(map[rollout.State]int)}
	for _, r := range rollouts {
		if slices.Index(byDistance, r.Phase) < slices.Index(byDistance, all.Phase) {
			all.Phase = r.Phase
		}
		for s, n := range r.Servers {
			all.Servers[s] += n
		}
		all.Number, all.Install, all.Started = r.Number, r.Install, r.Started
		all.Deaths += r.Deaths
		all.Halts = append(all.Halts, r.Halts...)
		all.Foreign = append(all.Foreign, r.Foreign...)
	}
	return all
}

// stuck is an install whose rollout is under way, and nothing ready stands there any more; nil if there is none.
func stuck(s controller.Status, path string) *selector.Install {
	for _, r := range of(s, path) {
		if unready := unreadyOf(s, path, r); unready != nil && r.Settled() < r.Total() {
			return unready
		}
	}
	return nil
}

func unreadyOf(s controller.Status, path string, r rollout.Report) (unready *selector.Install) {
	for _, i := range s.Installs {
		switch {
		case i.Path != path || i.Rollout != r.Number:
		case i.State == selector.StateReady:
			return nil
		default:
			unready = &i.Install
		}
	}
	return unready
}

// of are the rollouts of an install, wherever its path leads.
func of(s controller.Status, path string) []rollout.Report {
	return slices.DeleteFunc(slices.Clone(s.Rollouts), func(r rollout.Report) bool {
		return !slices.ContainsFunc(s.Installs, func(i controller.InstallStatus) bool {
			return i.Path == path && i.Rollout == r.Number
		})
	})
}
