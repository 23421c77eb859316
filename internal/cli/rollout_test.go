// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
	chaoswitness "ebpf-upgrader/test/chaos/witness"
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
		r = s.phase(c, rollout.PhaseHalted)
		requireServers(t, r, map[rollout.State]int{rollout.Pending: 99})
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
	cases := map[string]struct {
		behaviour testfleet.Behaviour
		want      rollout.State
		attempts  int
	}{
		"upgrades at once":           {testfleet.Behaviour{}, rollout.Upgraded, 1},
		"waits for a running call":   {testfleet.Behaviour{Drain: testfleet.Duration(1500 * time.Millisecond)}, rollout.Upgraded, 1},
		"waits longer than we do":    {testfleet.Behaviour{Drain: testfleet.Duration(3 * time.Second)}, rollout.Upgraded, 1},
		"needs to be asked twice":    {testfleet.Behaviour{AskTwice: true}, rollout.Upgraded, 2},
		"never upgrades":             {testfleet.Behaviour{Ignore: true}, rollout.GaveUp, 2},
		"crashes 1 s after its exec": {crashesLater(), rollout.Crashed, 1},
		"leaves when it is asked":    {testfleet.Behaviour{AskTwice: true}, rollout.Exited, 1},
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
		code, stdout, stderr := command(t, "trigger", "--install-path", s.Path(), "--source", source, "--settle", "1ms", "--wait",
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
	end := &testfleet.End{After: testfleet.Duration(time.Second), Crash: true}
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
		if err := s.ReplaceWithScript(thisBinary(t)); err != nil {
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
		err := c.Events(within(t), 0, false, func(e control.Event) error {
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

// TestSecondService_SameInstall_Rejected: only one may send.
func TestSecondService_SameInstall_Rejected(t *testing.T) {
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		s := newScene(t)
		server := s.start(nil)
		service := s.serve(source)
		service.client(t)
		second := []string{"run", "--install-path", s.Path(), "--source", source, "--socket", filepath.Join(t.TempDir(), "s"), "--state-dir", t.TempDir()}
		if code, _, _ := command(t, second...); code != exitFailure {
			t.Errorf("a second service: exit code %d, want %d", code, exitFailure)
		}
		trigger := []string{"trigger", "--install-path", s.Path(), "--settle", "1ms"}
		if code, _, _ := command(t, append(trigger, "--no-service")...); code != exitFailure {
			t.Errorf("trigger --no-service: exit code %d, want %d", code, exitFailure)
		}
		s.replace()
		code, stdout, stderr := command(t, append(trigger, "--wait", "-o", "json")...)
		var got outcome
		err := json.Unmarshal([]byte(stdout), &got)
		want := exitOK
		if got.Rollout.Servers[rollout.Skipped] > 0 { // another test's, as below
			want = exitBehind
		}
		if code != want || err != nil {
			t.Fatalf("trigger --wait: exit code %d, want %d, %v\n%s%s", code, want, err, stdout, stderr)
		}
		requireServers(t, got.Rollout, map[rollout.State]int{rollout.Upgraded: 1})
		s.upgraded(server)
		if n := server.Signals(); n > 1 {
			t.Errorf("the server got %d signals, want one", n)
		}
	})
}

// The servers' own trigger fires at random up to 3 s after each of three installs. It reads /proc only, where a server in the
// middle of its exec is unchanged; so it may kill. The service must not: it sees the signals of the trigger. A program of the
// test reports the sender of the last signal to each server that died.
func TestSecondSender_AtTheSameTime_NoDeathByOurs(t *testing.T) {
	takesLong(t)
	needRoot(t)
	own, program := build(t, "../../test/testfleet/owntrigger"), build(t, "../../cmd/ebpf-upgrader")
	s := newScene(t)
	fleet := s.startFleet(30, nil)
	watch, err := chaoswitness.Open()
	if err != nil {
		t.Fatal(err)
	}
	p := newService(t)
	p.start(t, program, append(p.args(s.Path(), "bpf"), "--max-failures", "100"))
	ours := s.status(p.client(t)).PID
	var others sync.WaitGroup
	for range 3 {
		s.replace()
		for _, server := range fleet {
			others.Go(func() {
				time.Sleep(rand.N(3 * time.Second))                          // as the servers' own trigger does
				_ = exec.Command(own, server.PID().String(), s.Path()).Run() // it may have nothing to do
			})
		}
		others.Wait()
	}
	records, err := watch.Close()
	if err != nil {
		t.Fatal(err)
	}
	for _, server := range fleet {
		select {
		case <-server.Exited():
			if of := endOf(server.PID(), records); killedBy(of, ours) {
				t.Errorf("server %d died of our signal (%v): %+v", server.PID(), server.ExitState(), of)
			}
		default:
			s.upgraded(server)
		}
	}
	t.Logf("%d of %d servers died of the other sender's signals", dead(fleet), len(fleet))
}

// endOf is what was seen of a process, in the order of time.
func endOf(pid selector.PID, records []chaoswitness.Record) []chaoswitness.Record {
	of := slices.DeleteFunc(slices.Clone(records), func(r chaoswitness.Record) bool { return selector.PID(r.Process) != pid })
	slices.SortStableFunc(of, func(a, b chaoswitness.Record) int { return cmp.Compare(a.At, b.At) })
	return of
}

// killedBy reports whether the last signal that took effect is ours, and no other sender's came right before it: between
// our last look and our signal nothing can help.
func killedBy(of []chaoswitness.Record, ours selector.PID) bool {
	const tooClose = uint64(20 * time.Millisecond)
	var last, other chaoswitness.Record
	for _, r := range of {
		if r.Kind != chaoswitness.Signalled || !r.Delivered() {
			continue
		}
		if last = r; selector.PID(r.Sender) != ours {
			other = r
		}
	}
	return selector.PID(last.Sender) == ours && (other.At == 0 || last.At-other.At > tooClose)
}

// TestThousandServers_Rollout_OneSignalEach also logs the time from the canary's confirmation to
// the last exec, and that of a loop that does nothing but signal them all. The servers are a program
// without the race detector, which would make each of them start ten times as slowly.
func TestThousandServers_Rollout_OneSignalEach(t *testing.T) {
	takesLong(t)
	server, program := build(t, "../../test/testfleet/ragrat"), build(t, "../../cmd/ebpf-upgrader")
	withEachSource(t, func(t *testing.T, source string) {
		s := newScene(t)
		if err := s.Replace(server); err != nil {
			t.Fatal(err)
		}
		fleet := s.startFleet(1000, nil)
		p := newService(t)
		p.start(t, program, append(p.args(s.Path(), source), "--scan-every", "30s"))
		c := p.client(t)
		s.phase(c, rollout.PhaseComplete)
		if err := c.Pause(within(t)); err != nil {
			t.Fatal(err)
		}
		alone := s.signalAll(fleet, server)
		if err := c.Resume(within(t)); err != nil {
			t.Fatal(err)
		}
		s.phase(c, rollout.PhaseComplete)
		from := s.status(c).Events + 1
		if err := s.Replace(server); err != nil {
			t.Fatal(err)
		}
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

// signalAll installs server, signals all servers, and returns the time until the last one ran it.
func (s *scene) signalAll(fleet []*testfleet.Server, server string) time.Duration {
	s.t.Helper()
	if err := s.Replace(server); err != nil {
		s.t.Fatal(err)
	}
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
	err := c.Events(within(s.t), from, false, func(e control.Event) error {
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

// build compiles a program without what the tests are compiled with.
func build(t *testing.T, pkg string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "program")
	cmd := exec.Command("go", "build", "-o", path, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
	return path
}

// start runs the service as a process of its own, which can be killed.
func (s *service) start(t *testing.T, program string, args []string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	var messages syncBuffer
	cmd.Stderr = &messages
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.kill = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			t.Logf("%v:\n%s", args, &messages)
		}
	})
}

// TestRestart_KilledAnytime_OneSignalEach kills it 200 times in rollouts of 50
// servers.
func TestRestart_KilledAnytime_OneSignalEach(t *testing.T) {
	takesLong(t)
	withEachSource(t, func(t *testing.T, source string) {
		s := newScene(t)
		fleet := s.startFleet(50, nil)
		p := newService(t)
		args := append(p.args(s.Path(), source), "--settle", "1ms", "--hold", "10ms", "--confirm-timeout", "1s", "--retry-after", "1s")
		for kill := range 200 {
			if kill%4 == 0 {
				s.replace()
			}
			p.start(t, thisBinary(t), args)
			time.Sleep(rand.N(250 * time.Millisecond)) // the moment is random, not awaited
			p.kill()
		}
		p.start(t, thisBinary(t), args)
		for _, server := range fleet {
			s.upgraded(server)
		}
		for _, server := range fleet {
			for _, e := range server.Events() {
				if e.Signals > 1 {
					t.Errorf("server %d got %d signals in generation %d", server.PID(), e.Signals, e.Generation)
				}
			}
		}
	})
}

func TestService_SIGHUP_GoesOn(t *testing.T) {
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		s := newScene(t)
		p := newService(t)
		cmd := exec.Command(thisBinary(t), p.args(s.Path(), source)...)
		cmd.Env = append(os.Environ(), asProgram+"=1")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		c := p.client(t)
		if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Status(within(t)); err != nil {
			t.Errorf("after SIGHUP: %v", err)
		}
		began := time.Now()
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("after SIGTERM: %v, want a clean end", err)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("it took %s to end, want at most 2 s", took)
		}
	})
}

func TestSystemd_Service_Notified(t *testing.T) {
	s := newScene(t)
	address := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	p := newService(t)
	cmd := exec.Command(thisBinary(t), p.args(s.Path(), "proc")...)
	cmd.Env = append(os.Environ(), asProgram+"=1", "NOTIFY_SOCKET="+address, "WATCHDOG_USEC=200000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	await := func(want string) {
		t.Helper()
		_ = socket.SetReadDeadline(time.Now().Add(patience))
		message := make([]byte, 4096)
		for {
			n, err := socket.Read(message)
			if err != nil {
				t.Fatalf("the service manager was not told %s: %v", want, err)
			}
			if strings.HasPrefix(string(message[:n]), want) {
				return
			}
		}
	}
	await("READY=1")
	await("STATUS=")
	await("WATCHDOG=1")
	await("WATCHDOG=1")
	_ = cmd.Process.Signal(syscall.SIGTERM)
	await("STOPPING=1")
	_ = cmd.Wait()
}

// TestMetrics_Rollout_Counted is about the wiring: what each metric means is tested
// in its own room.
func TestMetrics_Rollout_Counted(t *testing.T) {
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		s := newScene(t)
		s.startFleet(3, nil)
		service := s.serve(source)
		c := service.client(t)
		s.replace()
		s.phase(c, rollout.PhaseComplete)
		text := service.get(t, "/metrics")
		for _, want := range []string{
			"ebpf_upgrader_signals_sent_total 3", `ebpf_upgrader_upgrades_total{outcome="upgraded"} 3`,
			`ebpf_upgrader_rollouts{phase="complete"} 1`, `ebpf_upgrader_tracker_mode{mode="` + source + `"} 1`,
			"ebpf_upgrader_install_changes_total 2", "ebpf_upgrader_upgrade_duration_seconds_count 3",
		} {
			if !strings.Contains(text, want+"\n") {
				t.Errorf("the metrics lack %s:\n%s", want, text)
			}
		}
		if strings.Contains(text, "ebpf_upgrader_scan_duration_seconds_count 0\n") {
			t.Error("no scan was counted")
		}
	})
}

// get asks the service's socket as a scraper does.
func (s *service) get(t *testing.T, path string) string {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", s.socket)
	}}}
	request, err := http.NewRequestWithContext(within(t), http.MethodGet, "http://service"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", path, response.Status, err)
	}
	return string(text)
}
