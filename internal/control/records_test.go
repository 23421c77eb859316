// SPDX-License-Identifier: MIT

//go:build linux

package control

import (
	"testing"

	"ebpf-upgrader/internal/rollout"
)

// TestRecords_Superseded_SayWhatBecameOfServers: when a rollout is told that another file is installed, its members have left.
func TestRecords_Superseded_SayWhatBecameOfServers(t *testing.T) {
	t.Parallel()
	f := NewFeed()
	move := func(number uint64, m rollout.Member, states ...rollout.State) {
		from := rollout.None
		for _, state := range states {
			m.Rollout, m.State = number, state
			f.Moved(m, from)
			from = state
		}
	}
	report := func(number uint64, phase rollout.Phase, isSuperseded bool) {
		f.Rollout(rollout.Report{Number: number, Phase: phase, Superseded: isSuperseded})
	}
	report(3, rollout.PhaseCanary, false)
	move(3, rollout.Member{PID: 1}, rollout.Pending, rollout.Signalled, rollout.Settling)
	move(3, rollout.Member{PID: 2}, rollout.Pending)
	report(3, rollout.PhaseComplete, true)
	report(4, rollout.PhaseIdle, false)
	move(4, rollout.Member{PID: 2}, rollout.Skipped)
	report(4, rollout.PhaseComplete, true)
	all := f.Records(EventFilter{})
	if len(all) != 1 || all[0].Number != 3 {
		t.Fatalf("the rollouts are %+v, want one: that of skipped servers is none", all)
	}
	if r := all[0]; r.Phase != rollout.PhaseCanary || !r.Superseded || r.Servers[rollout.Pending] != 1 || r.Servers[rollout.Settling] != 1 {
		t.Errorf("the rollout is %+v, want a canary with a pending and a settling server", r)
	}
}
