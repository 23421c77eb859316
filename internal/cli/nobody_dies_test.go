// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
)

// Each server here is killed by a trigger that asks only for the name, the argument, the variable
// and another image. The tests hold that ours kills none, and says why it left each alone.

func TestServer_NotEligible_LivesWithReason(t *testing.T) {
	empty, missing := "", "/nowhere/rag-rat"
	cases := map[string]struct {
		change func(*testfleet.Options)
		want   selector.Verdict
		code   int
	}{
		"the variable is there but no handler": {
			func(o *testfleet.Options) { o.Behaviour.NeverArm = true }, selector.NoHandler, exitBehind,
		},
		"the variable is empty": {
			func(o *testfleet.Options) { o.UpgradeBin = &empty }, selector.NotArmed, exitOK,
		},
		"the variable is missing": {
			func(o *testfleet.Options) { o.UpgradeBin = nil }, selector.NotArmed, exitOK,
		},
		"the variable names a file that is not there": {
			func(o *testfleet.Options) { o.UpgradeBin = &missing }, selector.UnreadyInstall, exitOK,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			withEachSource(t, func(t *testing.T, source string) {
				t.Parallel()
				s := newScene(t)
				server := s.start(c.change)
				s.replace()
				s.trigger(c.code, source, "--confirm-timeout", "300ms") // how long it waits for a handler
				unharmed(t, server)
				got := verdictOf(t, s.report(exitOK, "list", source), server.PID())
				if got.Verdict != c.want || got.Detail == "" {
					t.Errorf("list says %q (%s), want %q with the reason", got.Verdict, got.Detail, c.want)
				}
			})
		})
	}
}

func TestInstall_NotExecutable_NoSignal(t *testing.T) {
	cases := map[string]func(t *testing.T, s *scene) error{
		"truncated":               func(t *testing.T, s *scene) error { return s.ReplaceTruncated(serverBinary()) },
		"of another architecture": func(t *testing.T, s *scene) error { return s.ReplaceOtherArch(serverBinary()) },
		"not executable":          func(t *testing.T, s *scene) error { return s.ReplaceNotExecutable(serverBinary()) },
		"still being written": func(t *testing.T, s *scene) error {
			if err := s.Replace(serverBinary()); err != nil {
				return err
			}
			release, err := s.HoldOpenForWriting()
			t.Cleanup(func() { _ = release() })
			return err
		},
	}
	for name, replace := range cases {
		t.Run(name, func(t *testing.T) {
			withEachSource(t, func(t *testing.T, source string) {
				t.Parallel()
				s := newScene(t)
				server := s.start(nil)
				if err := replace(t, s); err != nil {
					t.Fatal(err)
				}
				s.trigger(exitFailure, source)
				unharmed(t, server)
				got := verdictOf(t, s.report(exitOK, "list", source), server.PID())
				// Only an open would tell the others, which fires the servers' own trigger.
				unread := name != "not executable" && got.Verdict == selector.Outdated && got.Detail == "content not read"
				if !unread && (got.Verdict != selector.UnreadyInstall || got.Detail == "") {
					t.Errorf("list says %q (%s), want %q with the reason", got.Verdict, got.Detail, selector.UnreadyInstall)
				}
			})
		})
	}
}

// TestServer_JustExecd_SignalledOnceArmed: the second install lands while the server,
// which has just exec'd the first, would die of a signal.
func TestServer_JustExecd_SignalledOnceArmed(t *testing.T) {
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		s := newScene(t)
		server := s.start(func(o *testfleet.Options) {
			o.Behaviour.ArmDelay = testfleet.Duration(300 * time.Millisecond)
		})
		s.serve(source)
		s.replace()
		if err := server.AwaitGeneration(within(t), 1); err != nil {
			t.Fatalf("the first install did not reach %d: %v", server.PID(), err)
		}
		s.replace()
		s.upgraded(server)
	})
}

// TestInstalls_TwentyInARow_NoDeath keeps servers between signal, exec and arming most of the time.
func TestInstalls_TwentyInARow_NoDeath(t *testing.T) {
	takesLong(t)
	withEachSource(t, func(t *testing.T, source string) {
		s := newScene(t)
		fleet := make([]*testfleet.Server, 8)
		for i := range fleet {
			fleet[i] = s.start(func(o *testfleet.Options) {
				o.Behaviour.ArmDelay = testfleet.Duration(time.Duration(i) * 10 * time.Millisecond)
			})
		}
		s.serve(source)
		pace := time.NewTicker(100 * time.Millisecond)
		defer pace.Stop()
		for range 20 {
			s.replace()
			<-pace.C
		}
		for _, server := range fleet {
			s.upgraded(server)
		}
	})
}

// TestForkedChild_BeforeExec_NotSignalled: until it execs, it looks like its parent in
// everything but one flag.
func TestForkedChild_BeforeExec_NotSignalled(t *testing.T) {
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		s := newScene(t)
		server := s.start(func(o *testfleet.Options) { o.Behaviour.ForkChild = true })
		child := server.ChildPID()
		s.replace()
		if got := verdictOf(t, s.planned(source), child); got.Verdict != selector.Forked {
			t.Errorf("the child is %q, want %q", got.Verdict, selector.Forked)
		}
		s.trigger(exitOK, source)
		if !exists(child) {
			t.Errorf("the child %d of %d has ended", child, server.PID())
		}
		s.upgraded(server)
	})
}

func TestServer_OtherUsersInstall_NotSignalled(t *testing.T) {
	needRoot(t)
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		ours, theirs := newScene(t), newScene(t)
		mine := ours.start(nil)
		other := theirs.start(func(o *testfleet.Options) { o.Credential = &testfleet.Credential{UID: 4321, GID: 4321} })
		ours.replace()
		theirs.replace()
		r := ours.planned(source)
		ours.trigger(exitOK, source)
		ours.upgraded(mine)
		unharmed(t, other)
		if got := verdictOf(t, r, other.PID()); got.Verdict != selector.OtherInstall {
			t.Errorf("the other user's server is %q, want %q", got.Verdict, selector.OtherInstall)
		}
	})
}

func TestTrigger_DryRun_SendsNothing(t *testing.T) {
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		s := newScene(t)
		server := s.start(nil)
		s.replace()
		r := s.planned(source)
		if len(r.Plan) != 1 || r.Plan[0] != server.PID() {
			t.Errorf("planned %v, want [%d]", r.Plan, server.PID())
		}
		unharmed(t, server)
	})
}

// TestInstall_Script_NeverExecuted: a script that leaves a trace when it runs stands at the path.
func TestInstall_Script_NeverExecuted(t *testing.T) {
	s := newScene(t)
	trace := filepath.Join(s.Dir(), "trace")
	script := filepath.Join(s.Dir(), "new")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n: >"+trace+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(script, s.Path()); err != nil {
		t.Fatal(err)
	}
	s.trigger(exitOK, "proc")
	s.report(exitOK, "list", "proc")
	if _, err := os.Stat(trace); err == nil {
		t.Error("the installed file was executed")
	}
}
