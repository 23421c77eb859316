// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"strings"
	"testing"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
)

// TestExplain_RolloutHalted_SaysNotNow (newcomer 2.4): the halt is for the user of the dead server, with the name.
func TestExplain_RolloutHalted_SaysNotNow(t *testing.T) {
	t.Parallel()
	needRoot(t)
	h := newWholeHost(t)
	home := h.home(6001)
	servers := h.start(home, 6001, 3)
	h.serve("proc")
	h.knows(1)
	must(t, home.ReplaceExiting(1))
	eventually(t, "the rollout is halted", func() bool {
		all := h.status().Rollouts
		return len(all) == 1 && all[0].Phase == rollout.PhaseHalted
	})
	explained := 0
	for _, server := range servers {
		if !exists(server.PID()) {
			continue // the canary
		}
		explained++
		code, said, stderr := command(t, "explain", "--name", h.name, "--socket", h.socket, server.PID().String())
		if code != exitOK || !strings.Contains(said, "\nwill not be signalled now: rollout 2 is halted for uid 6001 since ") ||
			!strings.Contains(said, ": server ") || !strings.Contains(said, "resume") {
			t.Errorf("explain ends with %d and says\n%s%s", code, said, stderr)
		}
		if strings.Contains(said, "will be signalled") {
			t.Errorf("explain contradicts the service:\n%s", said)
		}
	}
	if explained != 2 {
		t.Errorf("%d servers live, want 2", explained)
	}
}

// TestExplain_WaitsForCanary_NamesIt (newcomer 2.4): the canary never execs, so the others wait for it.
func TestExplain_WaitsForCanary_NamesIt(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	ignores := func(o *testfleet.Options) { o.Behaviour.Ignore = true }
	servers := []*testfleet.Server{s.start(ignores), s.start(ignores)}
	p := s.serve("proc", "--canary-timeout", "1h")
	eventually(t, "both are known", func() bool { return s.status(p.client(t)).Verdicts[selector.UpToDate] == 2 })
	s.replace()
	canary := selector.PID(0)
	eventually(t, "the canary is signalled", func() bool {
		for _, server := range servers {
			if server.Signals() > 0 {
				canary = server.PID()
			}
		}
		return canary != 0
	})
	for _, server := range servers {
		want := "was signalled, and has not exec'd yet, until "
		if server.PID() != canary {
			want = "will be signalled later: the canary of its group, " + canary.String() + ", is signalled"
		}
		eventually(t, want, func() bool {
			_, said, _ := command(t, "explain", "--install-path", s.Path(), "--socket", p.socket, server.PID().String())
			return strings.Contains(said, "\n"+want)
		})
	}
}
