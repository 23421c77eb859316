// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"fmt"
	"os"
	"testing"
	"time"

	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/test/testfleet"
)

// ofGroup makes servers share an index.
func ofGroup(dir string) func(*testfleet.Options) {
	return func(o *testfleet.Options) { o.Env = append(o.Env, "RAG_RAT_DATA_DIR="+dir) }
}

// requireDead waits until so many servers have ended, and holds that no more do until the rollout is over.
func requireDead(t *testing.T, servers []*testfleet.Server, want int) {
	t.Helper()
	eventually(t, "the canary has ended", func() bool { return dead(servers) >= want })
	if n := dead(servers); n != want {
		t.Errorf("%d of %d servers died, want %d", n, len(servers), want)
	}
}

func TestBadBinary_ExitsWithZero_CostsTheCanary(t *testing.T) {
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		s := newScene(t)
		fleet := s.startFleet(20, nil)
		c := s.serve(source).client(t)
		must(t, s.ReplaceExiting(0))
		r := s.phase(c, rollout.PhaseHalted)
		requireServers(t, r, map[rollout.State]int{rollout.Crashed: 1, rollout.Pending: 19})
		requireDead(t, fleet, 1)
		if len(r.Halts) != 1 {
			t.Errorf("the reasons of the halt are %v, want one", r.Halts)
		}
	})
}

func TestBadBinary_Hangs_CostsTheCanary(t *testing.T) {
	takesLong(t)
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		s := newScene(t)
		fleet := s.startFleet(10, nil)
		c := s.serve(source, "--canary-timeout", "1s", "--group-hold", "10ms", "--hold", "20ms").client(t)
		must(t, s.ReplaceHanging())
		eventually(t, "a server runs the installed file", func() bool { return s.running(fleet) > 0 })
		s.remains(c, 3*time.Second, "while the canary hangs", func(r rollout.Report) bool {
			return r.Servers[rollout.Settling]+r.Servers[rollout.Signalled] == 1 && r.Servers[rollout.Pending] == 9
		})
		if n := s.running(fleet); n != 1 {
			t.Errorf("%d servers run the binary that hangs, want the canary", n)
		}
	})
}

// running counts the servers that run the installed file.
func (s *scene) running(servers []*testfleet.Server) (n int) {
	installed, err := os.Stat(s.Path())
	must(s.t, err)
	for _, server := range servers {
		if exe, err := os.Stat(fmt.Sprintf("/proc/%d/exe", server.PID())); err == nil && os.SameFile(exe, installed) {
			n++
		}
	}
	return n
}

// remains holds that the rollout stays as it is for some time.
func (s *scene) remains(c *control.Client, d time.Duration, when string, as func(rollout.Report) bool) {
	s.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		if r := onlyRollout(s.status(c)); !as(r) {
			s.t.Fatalf("%s: the rollout is %+v", when, r)
		}
	}
}

// TestCanary_DormantFirst_NeverOpens: they take the signal and do nothing, which proves nothing of the binary.
func TestCanary_DormantFirst_NeverOpens(t *testing.T) {
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		s := newScene(t)
		dormant := s.startFleet(2, func(o *testfleet.Options) { o.Behaviour.Ignore = true })
		fleet := s.startFleet(20, nil)
		c := s.serve(source, "--canary-timeout", "200ms").client(t)
		must(t, s.ReplaceExiting(1))
		s.phase(c, rollout.PhaseHalted)
		requireDead(t, append(dormant, fleet...), 1)
	})
}

func TestCanary_CrashesArmed_CostsItsGroup(t *testing.T) {
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		s := newScene(t)
		crashes := func(o *testfleet.Options) { o.Behaviour = crashesLater() }
		both := func(dir string) func(*testfleet.Options) {
			return func(o *testfleet.Options) { crashes(o); ofGroup(dir)(o) }
		}
		small := s.startFleet(3, both("/small"))
		large := s.startFleet(6, both("/large"))
		c := s.serve(source, "--hold", "2s").client(t)
		s.replace()
		s.phase(c, rollout.PhaseHalted)
		requireDead(t, small, 3)
		requireDead(t, large, 0)
	})
}

func TestGroup_FollowsItsCanary_OthersWaitForHold(t *testing.T) {
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		s := newScene(t)
		s.startFleet(2, ofGroup("/small"))
		large := s.startFleet(3, ofGroup("/large"))
		c := s.serve(source, "--hold", "1s", "--group-hold", "300ms").client(t)
		from := s.status(c).Events + 1
		s.replace()
		s.phase(c, rollout.PhaseComplete)
		var armed, last, first time.Time
		isLarge := make(map[int]bool)
		for _, server := range large {
			isLarge[int(server.PID())] = true
		}
		must(t, c.Events(within(t), control.EventQuery{From: from}, func(e control.Event) error {
			switch {
			case e.Kind != control.EventServer:
			case *e.State == rollout.Settling && e.Detail == "armed" && armed.IsZero():
				armed = e.Time
			case *e.State == rollout.Signalled && isLarge[int(e.PID)] && first.IsZero():
				first = e.Time
			case *e.State == rollout.Signalled && !isLarge[int(e.PID)]:
				last = e.Time
			}
			return nil
		}))
		if d := last.Sub(armed); d < 300*time.Millisecond || d > 900*time.Millisecond {
			t.Errorf("the group followed %s after its canary was armed, want 300 ms", d)
		}
		if d := first.Sub(armed); d < time.Second {
			t.Errorf("another group followed %s after the first canary was armed, want the hold time of 1 s", d)
		}
	})
}

// TestNoGate_CanaryChosen_WatchesTheInstall: it is the one that would fire the servers' own trigger.
func TestNoGate_CanaryChosen_WatchesTheInstall(t *testing.T) {
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		s := newScene(t)
		others := s.startFleet(4, nil)
		watching := s.start(func(o *testfleet.Options) { o.Behaviour.WatchDir = s.Dir() })
		others = append(others, s.startFleet(4, nil)...)
		c := s.serve(source, "--gate", "off").client(t)
		must(t, s.ReplaceExiting(1))
		s.phase(c, rollout.PhaseHalted)
		requireDead(t, []*testfleet.Server{watching}, 1)
		requireDead(t, others, 0)
	})
}
