// SPDX-License-Identifier: MIT

//go:build linux

package tracker_test

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
	"ebpf-upgrader/tracker"
)

// newWatch opens a tracker that watches SIGUSR1.
func newWatch(t testing.TB) *scene {
	t.Helper()
	s := newScene(t, func(_ *scene, c *tracker.Config) { c.Signal = syscall.SIGUSR1 })
	if !s.WatchesSignals() {
		t.Fatal("signals are not watched")
	}
	return s
}

// send sends a signal from a process of its own, and returns that process after its end.
func (s *scene) send(pid selector.PID, sig syscall.Signal) selector.PID {
	s.t.Helper()
	cmd := exec.Command("/bin/sh", "-c", fmt.Sprintf("kill -%d %d", sig, pid))
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("send %s to %d: %v: %s", sig, pid, err, out)
	}
	return selector.PID(cmd.Process.Pid)
}

func (s *scene) signalled(pid selector.PID) (time.Duration, bool) {
	s.t.Helper()
	trace, err := s.Trace(pid)
	if err != nil {
		s.t.Fatal(err)
	}
	return time.Since(trace.SignalledAt), !trace.SignalledAt.IsZero()
}

func (s *scene) wantUnsignalled(pid selector.PID, when string) {
	s.t.Helper()
	if ago, ever := s.signalled(pid); ever {
		s.t.Errorf("%s, %d counts as signalled %s ago", when, pid, ago)
	}
}

func TestSignal_OtherSender_Reported(t *testing.T) {
	t.Parallel()
	s := newWatch(t)
	server := s.serve(testfleet.Behaviour{Ignore: true})
	s.wantUnsignalled(server.PID(), "before any signal")
	for _, first := range []bool{true, false} { // the last signal counts
		start := time.Now()
		sender := s.send(server.PID(), syscall.SIGUSR1)
		ago, ever := s.signalled(server.PID())
		if latest := time.Since(start); !ever || ago <= 0 || ago > latest {
			t.Errorf("signalled %t, %s ago, want at most %s ago", ever, ago, latest)
		}
		if !first {
			continue
		}
		if e := s.await(selector.EventSignal, server.PID()); e.Sender != sender || e.Exit.Status != 0 || e.At.Before(start) || e.At.After(time.Now()) {
			t.Errorf("event is %+v, want %d as the sender, and now", e, sender)
		}
	}
}

// A user may send any number of signals to their own processes, and must not fill the ring by that.
func TestSignal_NoPause_FewEvents(t *testing.T) {
	t.Parallel()
	s := newWatch(t)
	server := s.serve(testfleet.Behaviour{Ignore: true})
	begin, events := time.Now(), 0
	const signals = 2000
	for range signals {
		if err := server.Signal(syscall.SIGUSR1); err != nil {
			t.Fatal(err)
		}
	}
	last := s.send(server.PID(), syscall.SIGUSR1)
	took := time.Since(begin)
	end := s.spawn(s.name, "mcp")
	for {
		e, err := s.Next()
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == selector.EventExec && e.PID == end.pid() {
			break
		}
		if e.Kind == selector.EventSignal {
			events++
		}
	}
	if most := 1 + int(took/time.Second); events < 1 || events > most {
		t.Errorf("%d signals led to %d events in %s, want 1 to %d (the last signal is of %d)", signals, events, took, most, last)
	}
}

// A stopped process does not act on the signal, which stays pending.
func TestSignal_Pending_Recorded(t *testing.T) {
	t.Parallel()
	s := newWatch(t)
	server := s.serve(testfleet.Behaviour{})
	if err := server.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	s.send(server.PID(), syscall.SIGUSR1)
	if _, ever := s.signalled(server.PID()); !ever {
		t.Errorf("%d does not count as signalled", server.PID())
	}
}

func TestSignal_Exec_Cleared(t *testing.T) {
	t.Parallel()
	for name, behaviour := range map[string]testfleet.Behaviour{
		"from another thread":  {},
		"from the main thread": {ExecFromMain: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newWatch(t)
			server := s.serve(behaviour)
			s.await(selector.EventExec, server.PID())
			s.send(server.PID(), syscall.SIGUSR1)
			s.await(selector.EventSignal, server.PID(), selector.EventExec)
			s.await(selector.EventExec, server.PID(), selector.EventExit, selector.EventExecOther)
			s.wantUnsignalled(server.PID(), "after its exec")
		})
	}
}

func TestSignal_Fork_NotInherited(t *testing.T) {
	t.Parallel()
	s := newWatch(t)
	p := s.spawn(s.name, "mcp")
	s.send(p.pid(), syscall.SIGUSR1)
	p.run(t, "exec 3<&0; (read -r line <&3) & wait")
	child := s.awaitFork()
	s.wantUnsignalled(child, "after its fork")
	if _, ever := s.signalled(p.pid()); !ever {
		t.Errorf("the parent %d does not count as signalled", p.pid())
	}
}

func TestSignal_OtherNumber_NotRecorded(t *testing.T) {
	t.Parallel()
	s := newWatch(t)
	p := s.spawn(s.name, "mcp")
	s.send(p.pid(), syscall.SIGCONT)
	s.wantUnsignalled(p.pid(), "after SIGCONT")
}

func TestSignal_UntrackedTarget_NotRecorded(t *testing.T) {
	t.Parallel()
	s := newWatch(t)
	p := s.spawn("sh", "no", "server")
	s.send(p.pid(), syscall.SIGUSR1)
	s.wantUnsignalled(p.pid(), "without being tracked")
	if s.holds(p.pid()) {
		t.Errorf("%d is held since it was signalled", p.pid())
	}
}

// The next scan keeps the record of a signal.
func TestSignal_SeededServer_Recorded(t *testing.T) {
	t.Parallel()
	var early *process
	s := newScene(t, func(s *scene, c *tracker.Config) {
		early = s.spawn(s.name, "mcp")
		c.Signal = syscall.SIGUSR1
		c.MaxEntries = 1 // so that each call of Candidates scans
		c.Seed = func(ctx context.Context) ([]selector.PID, error) {
			pids, err := s.scan(ctx) // may include a process of another test that has no leader
			return append([]selector.PID{early.pid()}, pids...), err
		}
	})
	s.wantUnsignalled(early.pid(), "seeded")
	s.send(early.pid(), syscall.SIGUSR1)
	s.spawn(s.name, "mcp")
	s.held()
	if _, ever := s.signalled(early.pid()); !ever {
		t.Errorf("%d does not count as signalled", early.pid())
	}
}

// A process that is not recorded may have been signalled.
func TestTrace_NotInMap_Untracked(t *testing.T) {
	t.Parallel()
	s := newScene(t, func(_ *scene, c *tracker.Config) {
		c.Signal, c.MaxEntries = syscall.SIGUSR1, 1
		c.Seed = func(context.Context) ([]selector.PID, error) { return nil, nil }
	})
	for _, known := range []bool{true, false} { // the first takes the only entry
		p := s.spawn(s.name, "mcp")
		s.send(p.pid(), syscall.SIGUSR1)
		trace, err := s.Trace(p.pid())
		if err != nil || trace.IsUntracked == known || trace.SignalledAt.IsZero() == known {
			t.Errorf("Trace = %+v, %v, want known and signalled: %t", trace, err, known)
		}
	}
}

func TestSignal_NotConfigured_Unwatched(t *testing.T) {
	t.Parallel()
	s := newScene(t, nil)
	if _, err := s.Trace(1); s.WatchesSignals() || !errors.Is(err, tracker.ErrUnwatched) {
		t.Errorf("watched: %t, Trace fails with %v, want ErrUnwatched", s.WatchesSignals(), err)
	}
}

// A kernel may refuse the program for signals alone.
func TestSignal_ProgramRefused_SetHeld(t *testing.T) {
	t.Parallel()
	s := newScene(t, func(_ *scene, c *tracker.Config) { c.Signal = syscall.SIGUSR1 })
	s.reopen(tracker.OpenWithoutSignals)
	p := s.spawn(s.name, "mcp")
	if !s.holds(p.pid()) {
		t.Errorf("%d is not held", p.pid())
	}
	if _, err := s.Trace(p.pid()); s.WatchesSignals() || !errors.Is(err, tracker.ErrUnwatched) {
		t.Errorf("watched: %t, Trace fails with %v, want ErrUnwatched", s.WatchesSignals(), err)
	}
}

func TestTrace_Closed_Fails(t *testing.T) {
	t.Parallel()
	s := newWatch(t)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if trace, err := s.Trace(1); trace != (selector.Trace{}) || !errors.Is(err, tracker.ErrClosed) {
		t.Errorf("Trace = %+v, %v, want ErrClosed", trace, err)
	}
}

func TestOpen_InvalidSignal_Fails(t *testing.T) {
	t.Parallel()
	needBPF(t)
	for _, sig := range []syscall.Signal{-1, 65} {
		_, err := tracker.Open(t.Context(), tracker.Config{
			Pattern: selector.Pattern{Names: []string{"x"}, Subcommand: "y"}, Signal: sig,
		})
		if !errors.Is(err, syscall.EINVAL) {
			t.Errorf("signal %d: Open = %v, want EINVAL", int(sig), err)
		}
	}
}

func BenchmarkSignalled(b *testing.B) {
	s := newWatch(b)
	p := s.spawn(s.name, "mcp")
	s.send(p.pid(), syscall.SIGUSR1)
	for b.Loop() {
		s.signalled(p.pid())
	}
}
