// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"strings"
	"testing"

	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/rollout"
)

// TestRestart_CanarySettles_NoOtherGoes: a restart while a canary is unproven puts no second session at risk: the others
// wait for that canary, also in a round that the next service is asked for.
func TestRestart_CanarySettles_NoOtherGoes(t *testing.T) {
	needRoot(t)
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		s := newScene(t)
		fleet := s.startFleet(3, nil)
		p := newService(t)
		args := append(p.args(s.Path(), source), "--hold", "10m", "--group-hold", "10m")
		isSettling := func() bool { return onlyRollout(s.status(p.client(t))).Servers[rollout.Settling] == 1 }
		p.start(t, thisBinary(t), args)
		_ = p.client(t)
		s.replace()
		eventually(t, "the canary settles", isSettling)
		p.kill()
		p.serve(t, args)
		c := p.client(t)
		eventually(t, "the next service knows of the canary", isSettling)
		_, err := c.Trigger(within(t), control.TriggerRequest{InstallPath: s.Path()})
		must(t, err)
		known, err := c.Servers(within(t))
		must(t, err)
		waiting := 0
		for _, k := range known {
			if strings.HasPrefix(k.Wait.Why, "the canary of its group, ") {
				waiting++
			}
		}
		if running := s.running(fleet); running != 1 || waiting != 2 {
			t.Errorf("%d servers run the new file, and %d wait for the canary, want 1 and 2: %+v", running, waiting, known)
		}
	})
}
