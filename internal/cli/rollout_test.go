// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"encoding/json"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/test/testfleet"
)

// client asks a service once it listens.
func (s *service) client(t *testing.T) *control.Client {
	t.Helper()
	c := control.NewClient(s.socket)
	eventually(t, "the service answers on its socket", func() bool {
		_, err := c.Status(within(t))
		return err == nil
	})
	return c
}

// phase waits until the rollout of what is installed now has come into a phase.
func (s *scene) phase(c *control.Client, want rollout.Phase) rollout.Report {
	s.t.Helper()
	image, err := s.Image()
	if err != nil {
		s.t.Fatal(err)
	}
	var got rollout.Report
	deadline := time.Now().Add(patience)
	for got.Install.Image != image || got.Phase != want {
		if time.Now().After(deadline) {
			s.t.Fatalf("within %s the rollout of %s did not come to be %s; it is %+v", patience, image, want, got)
		}
		status, err := c.Status(within(s.t))
		if err != nil {
			s.t.Fatal(err)
		}
		got = onlyRollout(status)
		time.Sleep(time.Millisecond)
	}
	return got
}

// onlyRollout is the one of a service that has one install, and the zero Rollout before it begins.
func onlyRollout(status control.Status) rollout.Report {
	if len(status.Rollouts) != 1 {
		return rollout.Report{}
	}
	return status.Rollouts[0]
}

// requireServers compares the states of the servers. It does not count servers that were skipped, nor those that exited after
// that: a process of another test that cannot be read at the moment could be a server of any install.
func requireServers(t *testing.T, r rollout.Report, want map[rollout.State]int) {
	t.Helper()
	for _, s := range rollout.States() {
		if s != rollout.Skipped && s != rollout.Exited && r.Servers[s] != want[s] {
			t.Errorf("the rollout has %v, want %v", r.Servers, want)
			return
		}
	}
}

// TestCanary_BinaryDies_OneOfHundredDies: it can be exec'd, and then exits with 1.
func TestCanary_BinaryDies_OneOfHundredDies(t *testing.T) {
	takesLong(t)
	withEachSource(t, func(t *testing.T, source string) {
		s := newScene(t)
		fleet := s.startFleet(100, nil)
		service := s.serve(source)
		c := service.client(t)
		s.phase(c, rollout.PhaseComplete)
		if err := s.Replace("/bin/false"); err != nil {
			t.Fatal(err)
		}
		r := s.phase(c, rollout.PhaseHalted)
		requireServers(t, r, map[rollout.State]int{rollout.Crashed: 1, rollout.Pending: 99})
		service.stop() // a halted rollout stays halted over a restart
		c = service.again(t, s.Path(), source).client(t)
		s.phase(c, rollout.PhaseHalted)
		// The phase is restored from the journal; the servers are inspected afterwards.
		eventually(t, "all servers that live are pending again", func() bool {
			return onlyRollout(s.status(c)).Servers[rollout.Pending] == 99
		})
		if n := dead(fleet); n != 1 {
			t.Fatalf("%d servers died, want the canary only", n)
		}
		s.replace()
		r = s.phase(c, rollout.PhaseComplete)
		requireServers(t, r, map[rollout.State]int{rollout.Upgraded: 99})
	})
}

// TestServer_EachEnd_HasItsState has one of each, and one more that is well.
func TestServer_EachEnd_HasItsState(t *testing.T) {
	takesLong(t)
	t.Parallel()
	cases := map[string]struct {
		behaviour testfleet.Behaviour
		want      rollout.State
		attempts  int
	}{
		"upgrades at once":           {testfleet.Behaviour{}, rollout.Upgraded, 1},
		"waits for a running call":   {testfleet.Behaviour{Drain: testfleet.Duration(1500 * time.Millisecond)}, rollout.Upgraded, 1},
		"waits longer than we do":    {testfleet.Behaviour{Drain: testfleet.Duration(3 * time.Second)}, rollout.Upgraded, 1},
		"needs to be asked twice":    {testfleet.Behaviour{NeedsTwoSignals: true}, rollout.Upgraded, 2},
		"never upgrades":             {testfleet.Behaviour{Ignore: true}, rollout.GaveUp, 2},
		"crashes 1 s after its exec": {crashesLater(), rollout.Crashed, 1},
		"leaves when it is asked":    {testfleet.Behaviour{NeedsTwoSignals: true}, rollout.Exited, 1},
		"never arms":                 {testfleet.Behaviour{NeverArm: true}, rollout.Skipped, 0},
	}
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		s := newScene(t)
		servers := make(map[string]*testfleet.Server)
		for name, c := range cases {
			servers[name] = s.start(func(o *testfleet.Options) { o.Behaviour = c.behaviour })
		}
		go func() {
			leaver := servers["leaves when it is asked"]
			_, _ = leaver.Await(within(t), func(e testfleet.Event) bool { return e.Kind == testfleet.Signalled })
			leaver.CloseStdin()
		}()
		s.replace()
		code, stdout, stderr := command(t, "trigger", "--install-path", s.Path(), "--source", source, "--settle", "1ms",
			"--confirm-timeout", "2s", "--retry-after", "4s", "--max-attempts", "2", "--max-failures", "9", "-o", "json")
		if code != exitFailure { // servers died
			t.Errorf("exit code %d, want %d\n%s", code, exitFailure, stderr)
		}
		var got outcome
		if err := json.Unmarshal([]byte(stdout), &got); err != nil {
			t.Fatalf("%v\n%s%s", err, stdout, stderr)
		}
		for name, c := range cases {
			pid := servers[name].PID()
			i := slices.IndexFunc(got.Servers, func(m rollout.Member) bool { return m.PID == pid })
			switch {
			case i < 0:
				t.Errorf("%s: %d is not reported", name, pid)
			case c.want == rollout.Exited && got.Servers[i].State == rollout.Crashed &&
				(!exitsAreKnown(t, source) || source == "proc" && got.Servers[i].Canary):
				// An unseen exit counts as a crash, and so does the exit of a canary after an unseen exec.
			case got.Servers[i].State != c.want || got.Servers[i].Attempts != c.attempts:
				t.Errorf("%s: %+v, want %s after %d attempts", name, got.Servers[i], c.want, c.attempts)
			}
		}
	})
}

// exitsAreKnown reports whether the exit code of a server that another process reaps can be read: from the tracker, and from
// a pidfd since Linux 6.15.
func exitsAreKnown(t *testing.T, source string) bool {
	t.Helper()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	var major, minor int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor); err != nil {
		t.Fatal(err)
	}
	return source == "bpf" || major > 6 || major == 6 && minor >= 15
}

// crashesLater comes up on the new binary, and dies a second later.
func crashesLater() testfleet.Behaviour {
	end := &testfleet.End{After: testfleet.Duration(time.Second), Signal: syscall.SIGSEGV}
	return testfleet.Behaviour{Later: &testfleet.Behaviour{End: end}, From: 1}
}

func TestCanary_LateCrash_HaltsRollout(t *testing.T) {
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		s := newScene(t)
		fleet := s.startFleet(5, func(o *testfleet.Options) { o.Behaviour = crashesLater() })
		c := s.serve(source, "--hold", "2s", "--group-hold", "2s").client(t)
		s.replace()
		r := s.phase(c, rollout.PhaseHalted)
		requireServers(t, r, map[rollout.State]int{rollout.Crashed: 1, rollout.Pending: 4})
		eventually(t, "the canary has ended", func() bool { return dead(fleet) > 0 })
		if n := dead(fleet); n != 1 {
			t.Errorf("%d servers died, want the canary only", n)
		}
	})
}

// TestCanary_NoSession_DelaysNoOther: it takes the signal, and does nothing.
func TestCanary_NoSession_DelaysNoOther(t *testing.T) {
	takesLong(t)
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		s := newScene(t)
		s.start(func(o *testfleet.Options) { o.Behaviour.Ignore = true })
		well := s.start(nil)
		s.serve(source)
		s.replace()
		s.upgraded(well)
	})
}

// TestServer_BehindScript_UpgradedOnce: what it runs is never the installed file.
func TestServer_BehindScript_UpgradedOnce(t *testing.T) {
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		s := newScene(t)
		server := s.start(nil)
		c := s.serve(source).client(t)
		if err := s.ReplaceWithScript(serverBinary()); err != nil {
			t.Fatal(err)
		}
		r := s.phase(c, rollout.PhaseComplete)
		requireServers(t, r, map[rollout.State]int{rollout.Upgraded: 1})
		report, err := c.Trigger(within(t), control.TriggerRequest{})
		if err != nil || len(report.Plan) != 0 || server.Generation() != 1 {
			t.Errorf("asked once more, %v is to be asked (%v), and the server is of generation %d; want none, 1", report.Plan, err, server.Generation())
		}
	})
}

func TestMaxInFlight_Rollout_LimitsSignalled(t *testing.T) {
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		s := newScene(t)
		s.startFleet(6, nil)
		service := s.serve(source, "--max-in-flight", "2", "--hold", "100ms")
		c := service.client(t)
		s.replace()
		s.phase(c, rollout.PhaseComplete)
		flying, most := 0, 0
		err := c.Events(within(t), control.EventQuery{}, func(e control.Event) error {
			if e.Kind == control.EventServer {
				if *e.State == rollout.Signalled {
					flying++
				}
				if *e.State == rollout.Upgraded {
					flying--
				}
				most = max(most, flying)
			}
			return nil
		})
		if err != nil || most != 2 {
			t.Errorf("%d were on their way at once, %v; want 2", most, err)
		}
	})
}

// TestPause_NewBinary_NoSignal also holds for the next process.
func TestPause_NewBinary_NoSignal(t *testing.T) {
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		s := newScene(t)
		server := s.start(nil)
		service := s.serve(source)
		c := service.client(t)
		if code, _, stderr := command(t, "pause", "--socket", service.socket); code != exitOK {
			t.Fatalf("pause: exit code %d\n%s", code, stderr)
		}
		s.replace()
		s.phase(c, rollout.PhasePaused)
		service.stop()
		service = service.again(t, s.Path(), source)
		s.phase(service.client(t), rollout.PhasePaused)
		unharmed(t, server)
		if code, _, stderr := command(t, "resume", "--socket", service.socket); code != exitOK {
			t.Fatalf("resume: exit code %d\n%s", code, stderr)
		}
		s.upgraded(server)
	})
}
