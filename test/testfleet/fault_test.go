// SPDX-License-Identifier: MIT

//go:build linux

package testfleet_test

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
)

// The tests in this file check each fault.

func TestDormant_Signals_Absorbed(t *testing.T) {
	t.Parallel()
	s := armed(t, newInstall(t), testfleet.Behaviour{Ignore: true})
	for n := 1; n <= 3; n++ {
		signal(t, s)
		awaitSignals(t, s, n)
	}
	if s.Generation() != 0 || !lives(s.PID()) || !catches(t, s.PID()) {
		t.Errorf("the server is of generation %d, want 0, alive and with its handler", s.Generation())
	}
}

func TestNeedsTwoSignals_Second_Upgrades(t *testing.T) {
	t.Parallel()
	s := armed(t, newInstall(t), testfleet.Behaviour{NeedsTwoSignals: true})
	signal(t, s)
	awaitSignals(t, s, 1)
	if s.Generation() != 0 {
		t.Errorf("generation %d after one signal, want 0", s.Generation())
	}
	signal(t, s)
	awaitArmed(t, s, 1)
}

func TestUpgrade_LeaderExited_Upgrades(t *testing.T) {
	t.Parallel()
	i := newInstall(t)
	s := armed(t, i, testfleet.Behaviour{LeaderExits: true})
	for generation := 1; generation <= 2; generation++ {
		eventually(t, "a leader that has exited", func() bool { return stat(t, s.PID())[0] == "Z" })
		want := replace(t, i)
		signal(t, s)
		awaitArmed(t, s, generation)
		if s.Image() != want {
			t.Errorf("generation %d runs %s, want %s", generation, s.Image(), want)
		}
	}
}

func TestDaemon_NotExecd_Upgrades(t *testing.T) {
	t.Parallel()
	i := newInstall(t)
	s := start(t, options(i, testfleet.Behaviour{Daemonise: true}))
	first := s.Events()[0].PID
	awaitArmed(t, s, 0)
	eventually(t, "an end of the parent", func() bool { return !lives(first) })
	daemon := s.Identity()
	if daemon.PID == first || daemon.StartTime == 0 || !hasNotExecd(t, daemon.PID) || !catches(t, daemon.PID) {
		t.Errorf("the daemon is %+v, forked by %d; has not exec'd: %t; catches SIGUSR1: %t",
			daemon, first, hasNotExecd(t, daemon.PID), catches(t, daemon.PID))
	}
	s.CloseStdin()
	for generation := 1; generation <= 2; generation++ {
		want := replace(t, i)
		signal(t, s)
		awaitArmed(t, s, generation)
		if s.Image() != want || s.Identity() != daemon || s.Signals() != generation {
			t.Errorf("%+v runs %s after %d signals, want %+v and %s", s.Identity(), s.Image(), s.Signals(), daemon, want)
		}
	}
	// A thread that starts another one blocks all signals for a moment.
	eventually(t, "a daemon that blocks no signal after exec", func() bool { return mask(t, daemon.PID, "SigBlk") == 0 })
}

func TestDaemon_Faults_AsInServer(t *testing.T) {
	t.Parallel()
	i := newInstall(t)
	dormant := armed(t, i, testfleet.Behaviour{Daemonise: true, Ignore: true})
	slow := armed(t, i, testfleet.Behaviour{Daemonise: true, NeedsTwoSignals: true, Drain: testfleet.Duration(time.Millisecond)})
	for n := 1; n <= 2; n++ {
		signal(t, dormant)
		awaitSignals(t, dormant, n)
		if n == 2 && slow.Generation() != 0 {
			t.Error("the daemon that needs two signals upgraded at the first signal")
		}
		signal(t, slow)
		awaitSignals(t, slow, n)
	}
	await(t, slow, testfleet.Draining)
	awaitArmed(t, slow, 1)
	if dormant.Generation() != 0 || !lives(dormant.PID()) {
		t.Errorf("the dormant daemon is of generation %d, want 0", dormant.Generation())
	}
}

func TestDaemon_ExecFails_Ends(t *testing.T) {
	t.Parallel()
	i := newInstall(t)
	s := armed(t, i, testfleet.Behaviour{Daemonise: true})
	if err := i.Remove(); err != nil {
		t.Fatal(err)
	}
	signal(t, s)
	await(t, s, testfleet.ExecFailed)
	eventually(t, "an end of the daemon", func() bool { return !lives(s.PID()) })
}

func TestChild_Signal_Dies(t *testing.T) {
	t.Parallel()
	s := armed(t, newInstall(t), testfleet.Behaviour{ForkChild: true})
	child := s.ChildPID()
	if !hasNotExecd(t, child) || !catches(t, child) || read(t, child, "cmdline") != read(t, s.PID(), "cmdline") {
		t.Errorf("the child %d has not exec'd: %t; catches SIGUSR1: %t; is %q",
			child, hasNotExecd(t, child), catches(t, child), read(t, child, "cmdline"))
	}
	kill(t, child)
	if e := await(t, s, testfleet.ChildEnded); e.Why != unix.SIGUSR1.String() || e.Child != child {
		t.Errorf("child %d ended of %q, want %d of SIGUSR1", e.Child, e.Why, child)
	}
	if s.Generation() != 0 || s.Signals() != 0 {
		t.Errorf("the server got %d signals that were for its child", s.Signals())
	}
}

func TestChild_Execd_DiesOfSignal(t *testing.T) {
	t.Parallel()
	s := armed(t, newInstall(t), testfleet.Behaviour{ForkChild: true, ChildExecs: testfleet.Duration(time.Millisecond)})
	child := s.ChildPID()
	eventually(t, "an exec of sleep", func() bool { return strings.HasPrefix(read(t, child, "cmdline"), "sleep\x00") })
	if hasNotExecd(t, child) || catches(t, child) {
		t.Errorf("sleep has not exec'd: %t; catches SIGUSR1: %t", hasNotExecd(t, child), catches(t, child))
	}
	kill(t, child)
	if e := await(t, s, testfleet.ChildEnded); e.Why != unix.SIGUSR1.String() {
		t.Errorf("sleep ended of %q, want SIGUSR1", e.Why)
	}
}

// kill signals a process that a server forked and has not reaped.
func kill(t *testing.T, pid selector.PID) {
	t.Helper()
	if err := unix.Kill(int(pid), unix.SIGUSR1); err != nil {
		t.Fatal(err)
	}
}

func TestChild_ServerExecs_LivesUntilServerEnds(t *testing.T) {
	t.Parallel()
	for _, execs := range []time.Duration{0, time.Millisecond} {
		s := armed(t, newInstall(t), testfleet.Behaviour{ForkChild: true, ChildExecs: testfleet.Duration(execs)})
		child := s.ChildPID()
		signal(t, s)
		awaitArmed(t, s, 1)
		if !lives(child) || s.ChildPID() != child {
			t.Errorf("the child was %d and is %d; alive: %t", child, s.ChildPID(), lives(child))
		}
		if err := s.Signal(unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "an end of the child", func() bool { return !lives(child) })
	}
}

func TestEnd_Generation_EndsAtItsTime(t *testing.T) {
	t.Parallel()
	i := newInstall(t)
	later := func(from int, e testfleet.End) testfleet.Behaviour {
		return testfleet.Behaviour{Later: &testfleet.Behaviour{From: from, End: &e}}
	}
	code := armed(t, i, later(2, testfleet.End{Code: 3, After: testfleet.Duration(time.Millisecond)}))
	crash := armed(t, i, later(1, testfleet.End{Signal: syscall.SIGSEGV}))
	leaves := start(t, options(i, testfleet.Behaviour{End: &testfleet.End{After: testfleet.Duration(time.Millisecond)}}))

	signal(t, code)
	awaitArmed(t, code, 1)
	signal(t, code)
	if status := ended(t, code); status.ExitStatus() != 3 || code.Generation() != 2 {
		t.Errorf("ended with %v in generation %d, want exit code 3 in 2", code.ExitState(), code.Generation())
	}
	signal(t, crash)
	if status := ended(t, crash); !diedOf(status, unix.SIGSEGV) || status.CoreDump() || crash.Generation() != 1 {
		t.Errorf("ended with %v in generation %d, want SIGSEGV in 1", crash.ExitState(), crash.Generation())
	}
	if status := ended(t, leaves); !status.Exited() || status.ExitStatus() != 0 {
		t.Errorf("ended with %v, want exit code 0", leaves.ExitState())
	}
}

func TestCredential_OtherUser_Runs(t *testing.T) {
	needRoot(t)
	t.Parallel()
	i := newInstall(t)
	o := options(i, testfleet.Behaviour{})
	o.Credential = &testfleet.Credential{UID: 4321, GID: 4322}
	s := start(t, o)
	awaitArmed(t, s, 0)
	signal(t, s)
	awaitArmed(t, s, 1)
	status := read(t, s.PID(), "status")
	if !strings.Contains(status, "\nUid:\t4321\t4321\t4321\t4321\n") || !strings.Contains(status, "\nGid:\t4322\t4322\t4322\t4322\n") {
		t.Errorf("the server's credentials are wrong:\n%s", status)
	}
}

// The root is a bind mount of this one, without /proc.
func TestChroot_OwnRoot_ImageReported(t *testing.T) {
	needRoot(t)
	t.Parallel()
	i, root := newInstall(t), t.TempDir()
	if err := unix.Mount("/", root, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(root, unix.MNT_DETACH) })
	o := options(i, testfleet.Behaviour{})
	o.Chroot = root
	s := start(t, o)
	awaitArmed(t, s, 0)
	want := replace(t, i)
	signal(t, s)
	awaitArmed(t, s, 1)
	if s.Image() != want || s.Identity().StartTime == 0 {
		t.Errorf("%+v runs %s, want %s", s.Identity(), s.Image(), want)
	}
}
