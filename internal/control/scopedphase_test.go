// SPDX-License-Identifier: MIT

//go:build linux

package control

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// TestPhaseOf_OnePart_SaysItsOwnPhase: a rollout that other users still hold up is over for a user with all servers upgraded.
func TestPhaseOf_OnePart_SaysItsOwnPhase(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		all     rollout.Phase
		servers map[rollout.State]int
		deaths  int
		halts   []rollout.Halt
		want    rollout.Phase
	}{
		"upgraded, others are not": {rollout.PhaseRolling, map[rollout.State]int{rollout.Upgraded: 2}, 0, nil, rollout.PhaseComplete},
		"upgraded, another halted": {rollout.PhaseHalted, map[rollout.State]int{rollout.Upgraded: 2}, 0, nil, rollout.PhaseComplete},
		"pending":                  {rollout.PhaseRolling, map[rollout.State]int{rollout.Pending: 2}, 0, nil, rollout.PhaseRolling},
		"halted, others go on":     {rollout.PhaseRolling, map[rollout.State]int{rollout.Pending: 2, rollout.Crashed: 1}, 1, []rollout.Halt{{}}, rollout.PhaseHalted},
		"died, none is left":       {rollout.PhaseRolling, map[rollout.State]int{rollout.Crashed: 1}, 1, []rollout.Halt{{}}, rollout.PhaseFailed},
		"the file is not ready":    {rollout.PhaseIdle, map[rollout.State]int{rollout.Skipped: 2}, 0, nil, rollout.PhaseIdle},
		"not inspected yet":        {rollout.PhaseCanary, nil, 0, nil, rollout.PhaseCanary},
	} {
		if got := phaseOf(&rollout.Report{Phase: c.all}, rollout.UserReport{Servers: c.servers, Deaths: c.deaths}, c.halts, nil); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// TestReportOf_RoundOfAll_OwnOnly: a round that a user triggered inspects the servers of all.
func TestReportOf_RoundOfAll_OwnOnly(t *testing.T) {
	t.Parallel()
	server := func(pid selector.PID, uid uint32, path string) api.Server {
		return api.Server{PID: pid, UID: uid, UpgradeBin: path}
	}
	all := api.Report{
		Servers:  []api.Server{server(1, 10, "/a"), server(2, 11, "/b")},
		Plan:     []selector.PID{2, 1},
		Installs: []selector.Install{{Path: "/a"}, {Path: "/b"}},
	}
	own := reportOf(all, 10)
	if len(own.Servers) != 1 || own.Servers[0].PID != 1 || len(own.Plan) != 1 || own.Plan[0] != 1 || len(own.Installs) != 1 || own.Installs[0].Path != "/a" {
		t.Errorf("the round of the user is %+v", own)
	}
}

// TestRound_AnotherUserTriggers_LeavesTime: one round for users at a time, with a pause after it.
func TestRound_AnotherUserTriggers_LeavesTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // with a clock of its own
		s, ctx := newShares(), context.Background()
		done, err := s.round(ctx, peer{role: user, uid: 1})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.round(ctx, peer{role: operator}); err != nil {
			t.Errorf("an operator waits: %v", err)
		}
		const took = 5 * time.Millisecond
		time.Sleep(took) // the round
		ended := time.Now()
		done()
		if _, err := s.round(ctx, peer{role: user, uid: 2}); err != nil {
			t.Fatal(err)
		}
		if left := time.Since(ended); left != leaveTimes*took {
			t.Errorf("after a round of %s another begins in %s, want %s", took, left, leaveTimes*took)
		}
	})
}
