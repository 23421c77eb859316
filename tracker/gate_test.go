// SPDX-License-Identifier: MIT

//go:build linux

package tracker_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
	"ebpf-upgrader/tracker"
)

// newGate opens a tracker and its gate. Where the kernel refuses the program, it checks the error and returns a nil
// gate: nothing else can be tested.
func newGate(t testing.TB, change func(*scene, *tracker.Config)) (*scene, *tracker.Gate) {
	t.Helper()
	s := newScene(t, func(s *scene, c *tracker.Config) {
		c.Signal = syscall.SIGUSR1
		if change != nil {
			change(s, c)
		}
	})
	g, err := s.EnableGate()
	if err != nil {
		s.wantRefused(err)
		return s, nil
	}
	if !g.Active() || g.Hook() == "" {
		t.Fatalf("the gate is active: %t, at hook %q", g.Active(), g.Hook())
	}
	return s, g
}

// wantRefused wants a reason for each hook, and a tracker that still works. CI sets REQUIRE_GATE on kernels that are
// known to accept the program.
func (s *scene) wantRefused(err error) {
	s.t.Helper()
	if os.Getenv("REQUIRE_GATE") == "1" {
		s.t.Fatal(err)
	}
	text := err.Error()
	if !errors.Is(err, tracker.ErrGateUnavailable) || !strings.Contains(text, "fmod_ret: ") || !strings.Contains(text, "lsm: ") ||
		strings.Contains(text, "\n") {
		s.t.Errorf("EnableGate = %q, want ErrGateUnavailable with a reason for each hook, in one line", text)
	}
	p := s.candidate()
	if !s.holds(p.pid()) {
		s.t.Errorf("%d is not held after the gate was refused", p.pid())
	}
	s.send(p.pid(), syscall.SIGUSR1)
	if _, ever := s.signalled(p.pid()); !ever {
		s.t.Error("a signal is not recorded after the gate was refused")
	}
}

// candidate starts a shell that looks like a server.
func (s *scene) candidate() *process {
	s.t.Helper()
	return s.spawn(s.name, "mcp")
}

// kill makes the shell itself send a signal, and reports whether the kernel refused it. It may be called again.
func (p *process) kill(t testing.TB, sig syscall.Signal, target selector.PID) (refused bool) {
	t.Helper()
	p.run(t, fmt.Sprintf(`kill -%d %d 2>&1 && echo sent; read -r line; eval "$line"`, sig, target))
	said, err := p.stdout.ReadString('\n')
	switch {
	case err != nil:
		t.Fatalf("%d ended: %v", p.pid(), err)
	case said == "sent\n":
		return false
	case strings.Contains(said, "not permitted"):
		return true
	}
	t.Fatalf("kill of %d says %q", target, said)
	return false
}

func (s *scene) wantGate(sender *process, sig syscall.Signal, target selector.PID, refused bool) {
	s.t.Helper()
	if got := sender.kill(s.t, sig, target); got != refused {
		s.t.Errorf("signal %d from %d to %d is refused: %t, want %t", sig, sender.pid(), target, got, refused)
	}
}

func TestGate_BetweenCandidates_Refuses(t *testing.T) {
	t.Parallel()
	s, g := newGate(t, nil)
	if g == nil {
		return
	}
	a, b := s.candidate(), s.candidate()
	s.wantGate(a, syscall.SIGUSR1, b.pid(), true)
	s.wantGate(a, syscall.SIGUSR1, b.pid(), true)
	s.wantGate(b, syscall.SIGUSR1, b.pid(), true)
	s.wantUnsignalled(b.pid(), "after it was refused")
	stats, err := g.Stats()
	if err != nil || stats.Refused != 3 || stats.Missed != 0 {
		t.Errorf("counted %+v, %v, want 3 refused", stats, err)
	}
	all, err := g.Refusals()
	if err != nil || len(all) != 2 || all[0].Sender != b.pid() || all[0].Target != b.pid() || all[0].Count != 1 ||
		all[1].Sender != a.pid() || all[1].Target != b.pid() || all[1].Count != 2 || all[1].Last.After(all[0].Last) {
		t.Errorf("refusals are %+v, %v, want one from %d to itself, then two from %d to it", all, err, b.pid(), a.pid())
	}
}

func TestGate_OtherSender_Passes(t *testing.T) {
	t.Parallel()
	s, g := newGate(t, nil)
	if g == nil {
		return
	}
	own, operator, stranger := s.candidate(), s.candidate(), s.candidate()
	if err := own.Process.Signal(syscall.SIGUSR1); err != nil {
		t.Error("this process:", err)
	}
	s.send(operator.pid(), syscall.SIGUSR1)
	s.wantGate(s.spawn("sh", "no", "server"), syscall.SIGUSR1, stranger.pid(), false)
	for _, p := range []*process{own, operator, stranger} {
		if _, ever := s.signalled(p.pid()); !ever {
			t.Errorf("%d was not signalled", p.pid())
		}
	}
}

func TestGate_OtherSignal_Passes(t *testing.T) {
	t.Parallel()
	s, g := newGate(t, nil)
	if g == nil {
		return
	}
	a, b := s.candidate(), s.candidate()
	for _, sig := range []syscall.Signal{0, syscall.SIGCONT, syscall.SIGWINCH} {
		s.wantGate(a, sig, b.pid(), false)
	}
	s.wantGate(a, 0, a.pid(), false)
}

func TestGate_TargetNotTracked_Passes(t *testing.T) {
	t.Parallel()
	s, g := newGate(t, nil)
	if g == nil {
		return
	}
	stranger := s.spawn("sh", "no", "server")
	s.wantGate(s.candidate(), syscall.SIGUSR1, stranger.pid(), false)
}

// Right after an exec the default action is in force, so a signal of another server would end the process.
func TestGate_ServerThatExecs_LivesOn(t *testing.T) {
	t.Parallel()
	s, g := newGate(t, nil)
	if g == nil {
		return
	}
	server, storm := s.serve(testfleet.Behaviour{}), s.candidate()
	storm.run(t, fmt.Sprintf("while :; do kill -USR1 %d; done 2>/dev/null", server.PID()))
	for n := range 5 {
		s.awaitRefusal(g)
		if err := server.Signal(syscall.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		if err := server.AwaitArmed(s.within(), n+1); err != nil {
			t.Fatalf("after %d execs among signals of another server: %v", n, err)
		}
	}
}

// awaitRefusal waits until one more signal has been refused.
func (s *scene) awaitRefusal(g *tracker.Gate) {
	s.t.Helper()
	before, err := g.Stats()
	if err != nil {
		s.t.Fatal(err)
	}
	for ctx := s.within(); ctx.Err() == nil; {
		if now, err := g.Stats(); err != nil || now.Refused > before.Refused {
			return
		}
	}
	s.t.Fatal("nothing is refused")
}

// The processes run before the tracker starts.
func TestGate_Seeded_Covers(t *testing.T) {
	t.Parallel()
	var a, b *process
	s, g := newGate(t, func(s *scene, _ *tracker.Config) { a, b = s.candidate(), s.candidate() })
	if g != nil {
		s.wantGate(a, syscall.SIGUSR1, b.pid(), true)
	}
}

// A child that has not exec'd yet keeps the program attached, and the gate must be open all the same.
func TestGate_Closed_Passes(t *testing.T) {
	t.Parallel()
	s, g := newGate(t, nil)
	if g == nil {
		return
	}
	a, b := s.candidate(), s.candidate()
	s.wantGate(a, syscall.SIGUSR1, b.pid(), true)
	child, err := g.KeepAttached()
	if err != nil {
		t.Fatal(err)
	}
	defer child.Close() //nolint:errcheck // nothing is lost with it
	if err := errors.Join(g.Close(), g.Close()); err != nil {
		t.Fatal(err)
	}
	s.wantGate(a, syscall.SIGUSR1, b.pid(), false)
	if covers, err := g.Covers(b.pid()); covers || err != nil || g.Active() {
		t.Errorf("a closed gate covers: %t, %v, and is active: %t", covers, err, g.Active())
	}
	_, err = g.Stats()
	_, err2 := g.Refusals()
	if !errors.Is(err, tracker.ErrClosed) || !errors.Is(err2, tracker.ErrClosed) {
		t.Errorf("Stats and Refusals fail with %v and %v, want ErrClosed", err, err2)
	}
	if c := s.candidate(); !s.holds(c.pid()) {
		t.Error("the tracker ended with the gate")
	}
}

func TestGate_TrackerClosed_Passes(t *testing.T) {
	t.Parallel()
	s, g := newGate(t, nil)
	if g == nil {
		return
	}
	a, b := s.candidate(), s.candidate()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s.wantGate(a, syscall.SIGUSR1, b.pid(), false)
}

// A process that does not fit into the map is not covered, and reported as such.
func TestGate_MapFull_LeavesOut(t *testing.T) {
	t.Parallel()
	s, g := newGate(t, func(_ *scene, c *tracker.Config) {
		c.MaxEntries = 1
		c.Seed = func(context.Context) ([]selector.PID, error) { return nil, nil } // a seeded process could take the only entry
	})
	if g == nil {
		return
	}
	a, beyond := s.candidate(), s.candidate()
	s.wantCovers(g, beyond.pid(), false)
	s.wantGate(a, syscall.SIGUSR1, beyond.pid(), false)
	s.wantGate(a, syscall.SIGUSR1, a.pid(), true)
}

// TestGate_PIDNamespace_Translates runs tests of the gate in a PID namespace, where PIDs differ from the host's.
func TestGate_PIDNamespace_Translates(t *testing.T) {
	needBPF(t)
	if depth() == 0 {
		enter(t, "^(TestGate_BetweenCandidates|TestGate_Other|TestGate_Exempt)")
	}
}

func TestGate_NoSignal_Fails(t *testing.T) {
	t.Parallel()
	s := newScene(t, nil)
	if g, err := s.EnableGate(); g != nil || !errors.Is(err, tracker.ErrGateUnavailable) {
		t.Errorf("EnableGate = %v, %v, want ErrGateUnavailable", g, err)
	}
}
