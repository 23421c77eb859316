// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"context"
	"syscall"
	"testing"
	"time"

	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/test/testfleet"
)

// startFleet starts n armed servers at once.
func (s *scene) startFleet(n int, change func(*testfleet.Options)) []*testfleet.Server {
	s.t.Helper()
	path := s.Path()
	options := testfleet.Options{Binary: path, UpgradeBin: &path}
	if change != nil {
		change(&options)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*patience)
	defer cancel()
	fleet, err := testfleet.StartFleet(ctx, n, options)
	if err != nil {
		s.t.Fatalf("start %d servers: %v", n, err)
	}
	s.t.Cleanup(func() { _ = fleet.StopAll() })
	if err := fleet.AwaitArmed(ctx, 0); err != nil {
		s.t.Fatalf("the servers did not arm: %v", err)
	}
	return fleet.Servers()
}

// dead counts the servers that have ended.
func dead(servers []*testfleet.Server) (n int) {
	for _, s := range servers {
		select {
		case <-s.Exited():
			n++
		default:
		}
	}
	return n
}

// TestThousandServers_Rollout_OneSignalEach also logs the time from the canary's confirmation to
// the last exec, and that of a loop that does nothing but signal them all.
func TestThousandServers_Rollout_OneSignalEach(t *testing.T) {
	takesLong(t)
	program := build(t, "../../cmd/ebpf-upgrader")
	withEachSource(t, func(t *testing.T, source string) {
		s := newScene(t)
		fleet := s.startFleet(1000, nil)
		p := newService(t)
		p.start(t, program, append(p.args(s.Path(), source), "--scan-every", "30s"))
		c := p.client(t)
		s.phase(c, rollout.PhaseComplete)
		if err := c.Pause(within(t)); err != nil {
			t.Fatal(err)
		}
		alone := s.signalAll(fleet)
		if err := c.Resume(within(t)); err != nil {
			t.Fatal(err)
		}
		s.phase(c, rollout.PhaseComplete)
		from := s.status(c).Events + 1
		s.replace()
		s.allUpgraded(fleet)
		ours := s.afterCanary(c, from)
		t.Logf("1,000 servers: %s from the canary's confirmation to the last exec; %s by a loop that signals them",
			ours.Round(time.Millisecond), alone.Round(time.Millisecond))
		for _, one := range fleet {
			if n := one.Signals(); n != 2 { // one of the loop, one of the service
				t.Errorf("server %d got %d signals, want 2", one.PID(), n)
			}
		}
	})
}

// signalAll installs a new binary, signals all servers, and returns the time until the last one ran it.
func (s *scene) signalAll(fleet []*testfleet.Server) time.Duration {
	s.t.Helper()
	s.replace()
	began := time.Now()
	for _, one := range fleet {
		if err := one.Signal(syscall.SIGUSR1); err != nil {
			s.t.Fatal(err)
		}
	}
	s.allUpgraded(fleet)
	took := time.Since(began)
	for _, one := range fleet {
		if err := one.AwaitArmed(within(s.t), one.Generation()); err != nil {
			s.t.Fatal(err)
		}
	}
	return took
}

func (s *scene) allUpgraded(fleet []*testfleet.Server) {
	s.t.Helper()
	for _, one := range fleet {
		s.upgraded(one)
	}
}

func (s *scene) status(c *control.Client) control.Status {
	s.t.Helper()
	status, err := c.Status(within(s.t))
	if err != nil {
		s.t.Fatal(err)
	}
	return status
}

// afterCanary is the time from the first server that counts as upgraded to the last exec, in the events
// from number from on.
func (s *scene) afterCanary(c *control.Client, from uint64) time.Duration {
	s.t.Helper()
	var confirmed, last time.Time
	err := c.Events(within(s.t), control.EventQuery{From: from}, func(e control.Event) error {
		switch {
		case e.Kind != control.EventServer:
		case *e.State == rollout.Upgraded && confirmed.IsZero():
			confirmed = e.Time
		case *e.State == rollout.Settling:
			last = e.Time
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return last.Sub(confirmed)
}
