// SPDX-License-Identifier: MIT

//go:build linux

package testfleet_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
)

// The tests in this file check what a good server does.

func TestUpgrade_Signal_SameProcessNewImage(t *testing.T) {
	t.Parallel()
	i := newInstall(t)
	o := options(i, testfleet.Behaviour{})
	o.Argv0, o.Args, o.Env = "/some/where/rag-rat", []string{"--root", "", "x y"}, []string{"MARK=1"}
	s := start(t, o)
	awaitArmed(t, s, 0)
	before, old, cmdline := s.Identity(), s.Image(), read(t, s.PID(), "cmdline")
	if old != installed(t, i) {
		t.Errorf("the server runs %s, want the installed %s", old, installed(t, i))
	}
	want := replace(t, i)
	signal(t, s)
	awaitArmed(t, s, 1)
	if s.Image() != want || want == old {
		t.Errorf("the server runs %s, want %s, before it was %s", s.Image(), want, old)
	}
	e, _ := s.Await(within(t), func(e testfleet.Event) bool { return e.Kind == testfleet.Started && e.Generation == 1 })
	after := selector.Identity{PID: e.PID, StartTime: e.StartTime}
	if before != after || before.StartTime == 0 {
		t.Errorf("the server was %+v and is %+v, want the same process", before, after)
	}
	if now := read(t, s.PID(), "cmdline"); now != cmdline || !strings.HasSuffix(now, "\x00mcp\x00--root\x00\x00x y\x00") {
		t.Errorf("arguments were %q and are %q", cmdline, now)
	}
	env := strings.Split(read(t, s.PID(), "environ"), "\x00")
	if !slices.Contains(env, "MARK=1") || !slices.Contains(env, "RAG_RAT_UPGRADE_BIN="+i.Path()) {
		t.Errorf("the environment is %q", env)
	}
	if s.Generation() != 1 || s.Signals() != 1 {
		t.Errorf("generation %d after %d signals, want 1 after 1", s.Generation(), s.Signals())
	}
}

func TestUpgrade_SeveralSignals_EachExecs(t *testing.T) {
	t.Parallel()
	i := newInstall(t)
	s := armed(t, i, testfleet.Behaviour{})
	for generation := 1; generation <= 5; generation++ {
		want := replace(t, i)
		signal(t, s)
		awaitArmed(t, s, generation)
		if s.Image() != want {
			t.Fatalf("generation %d runs %s, want %s", generation, s.Image(), want)
		}
	}
}

func TestUpgrade_ExecThread_IsNotLeader(t *testing.T) {
	t.Parallel()
	i := newInstall(t)
	for _, c := range []struct {
		b    testfleet.Behaviour
		main bool
	}{{testfleet.Behaviour{}, false}, {testfleet.Behaviour{ExecFromMain: true}, true}} {
		s := armed(t, i, c.b)
		signal(t, s)
		e := await(t, s, testfleet.Exec)
		if fromMain := e.Thread == int(s.PID()); fromMain != c.main || e.Thread == 0 {
			t.Errorf("thread %d of %d execs, want the main one: %t", e.Thread, s.PID(), c.main)
		}
		awaitArmed(t, s, 1)
	}
}

// The test reads the mask of caught signals all the time from the exec until the new image reports its start, while
// Go's runtime starts.
//
// The exec has ended when the image is new and the handler is gone, in this order. begin_new_exec in fs/exec.c (Linux
// 6.12) replaces the image some steps before it resets the handlers. While it replaces the leader, the mask may read as
// empty.
func TestArm_AfterExec_NoHandlerBefore(t *testing.T) {
	t.Parallel()
	i := newInstall(t)
	never := testfleet.Behaviour{Later: &testfleet.Behaviour{ArmDelay: testfleet.Duration(time.Hour)}}
	for range 10 {
		s := armed(t, i, never)
		if !catches(t, s.PID()) {
			t.Fatalf("SigCgt of the armed server %d lacks SIGUSR1", s.PID())
		}
		want := replace(t, i)
		signal(t, s)
		eventually(t, "exec'd", func() bool { return runs(s.PID(), want) && !catches(t, s.PID()) })
		for readings, up := 0, false; !up; readings++ {
			up = s.Generation() == 1 // read first: the last reading is of an image that has started
			if catches(t, s.PID()) {
				t.Fatalf("SigCgt of server %d shows SIGUSR1 in reading %d after exec", s.PID(), readings)
			}
		}
	}
}

func TestUpgrade_NotArmed_DiesOfSignal(t *testing.T) {
	t.Parallel()
	i := newInstall(t)
	empty := ""
	cases := map[string]func(*testfleet.Options){
		"never arms":      func(o *testfleet.Options) { o.Behaviour.NeverArm = true },
		"not armed yet":   func(o *testfleet.Options) { o.Behaviour.ArmDelay = testfleet.Duration(time.Hour) },
		"variable unset":  func(o *testfleet.Options) { o.UpgradeBin = nil },
		"variable empty":  func(o *testfleet.Options) { o.UpgradeBin = &empty },
		"leader has gone": func(o *testfleet.Options) { o.Behaviour.NeverArm, o.Behaviour.LeaderExits = true, true },
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(i, testfleet.Behaviour{})
			change(&o)
			s := start(t, o)
			if catches(t, s.PID()) {
				t.Errorf("SigCgt of server %d shows SIGUSR1", s.PID())
			}
			signal(t, s)
			if status := ended(t, s); !diedOf(status, unix.SIGUSR1) {
				t.Errorf("the server ended with %v, want death by SIGUSR1", s.ExitState())
			}
			if s.Signals() != 0 {
				t.Errorf("the server handled %d signals, want 0", s.Signals())
			}
		})
	}
}

func TestArm_Never_Reported(t *testing.T) {
	t.Parallel()
	s := start(t, options(newInstall(t), testfleet.Behaviour{NeverArm: true}))
	if err := s.AwaitArmed(within(t), 0); !errors.Is(err, testfleet.ErrNeverArms) {
		t.Errorf("await armed: %v, want ErrNeverArms", err)
	}
}

func TestUpgrade_FailedExec_ExitsWith70(t *testing.T) {
	t.Parallel()
	cases := map[string]func(*testing.T, *testfleet.Install) error{
		"missing":        func(_ *testing.T, i *testfleet.Install) error { return i.Remove() },
		"other machine":  func(t *testing.T, i *testfleet.Install) error { return i.ReplaceOtherArch(thisBinary(t)) },
		"not executable": func(t *testing.T, i *testfleet.Install) error { return i.ReplaceNotExecutable(thisBinary(t)) },
		"open for writing": func(t *testing.T, i *testfleet.Install) error {
			replace(t, i)
			release, err := i.HoldOpenForWriting()
			t.Cleanup(func() { _ = release() })
			return err
		},
	}
	for name, install := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newInstall(t)
			s := armed(t, i, testfleet.Behaviour{})
			if err := install(t, i); err != nil {
				t.Fatal(err)
			}
			signal(t, s)
			if status := ended(t, s); status.ExitStatus() != 70 {
				t.Errorf("the server ended with %v, want exit code 70", s.ExitState())
			}
			if e := await(t, s, testfleet.ExecFailed); e.Why == "" {
				t.Error("the event does not say why the exec failed")
			}
		})
	}
}

// The kernel detects the fault only after the point of no return of the exec.
func TestUpgrade_TruncatedBinary_EndsServer(t *testing.T) {
	t.Parallel()
	i := newInstall(t)
	s := armed(t, i, testfleet.Behaviour{})
	if err := i.ReplaceTruncated(thisBinary(t)); err != nil {
		t.Fatal(err)
	}
	signal(t, s)
	if status := ended(t, s); status.Exited() && status.ExitStatus() == 0 || s.Generation() != 0 {
		t.Errorf("the server ended with %v in generation %d, want a failure", s.ExitState(), s.Generation())
	}
}

func TestSignal_WhilePending_Ignored(t *testing.T) {
	t.Parallel()
	i := newInstall(t)
	s := armed(t, i, testfleet.Behaviour{Drain: testfleet.Duration(200 * time.Millisecond)})
	signal(t, s)
	await(t, s, testfleet.Draining)
	signal(t, s)
	awaitSignals(t, s, 2)
	awaitArmed(t, s, 1)
	if s.Generation() != 1 || !lives(s.PID()) {
		t.Errorf("the server is of generation %d, want 1", s.Generation())
	}
}

func TestUpgrade_VariableChanged_StartValueUsed(t *testing.T) {
	t.Parallel()
	i, other := newInstall(t), newInstall(t)
	link := filepath.Join(i.Dir(), "link")
	if err := os.Symlink(other.Path(), link); err != nil {
		t.Fatal(err)
	}
	o := options(i, testfleet.Behaviour{})
	o.UpgradeBin = &link
	s := start(t, o)
	awaitArmed(t, s, 0)
	signal(t, s)
	awaitArmed(t, s, 1)
	if e := await(t, s, testfleet.Exec); e.Path != link || s.Image() != installed(t, other) {
		t.Errorf("the server exec'd %q and runs %s, want %q and %s", e.Path, s.Image(), link, installed(t, other))
	}
}

func TestUpgrade_Script_EndsInRealBinary(t *testing.T) {
	t.Parallel()
	i := newInstall(t)
	s := armed(t, i, testfleet.Behaviour{})
	if err := i.ReplaceWithScript(thisBinary(t)); err != nil {
		t.Fatal(err)
	}
	signal(t, s)
	awaitArmed(t, s, 1)
	if s.Image() == installed(t, i) {
		t.Error("the server runs the script itself")
	}
	named, sub := selector.Pattern{Names: []string{testfleet.Name}, Subcommand: "mcp"}.Match([]byte(read(t, s.PID(), "cmdline")))
	if !named || !sub {
		t.Errorf("after the script the arguments are %q", read(t, s.PID(), "cmdline"))
	}
}

func TestSession_StdinCloses_ServerEnds(t *testing.T) {
	t.Parallel()
	i := newInstall(t)
	s := armed(t, i, testfleet.Behaviour{})
	s.CloseStdin()
	if status := ended(t, s); !status.Exited() || status.ExitStatus() != 0 {
		t.Errorf("the server ended with %v, want exit code 0", s.ExitState())
	}
	await(t, s, testfleet.Exiting)
	stays := armed(t, i, testfleet.Behaviour{OutliveStdin: true})
	stays.CloseStdin()
	signal(t, stays)
	awaitArmed(t, stays, 1)
}

func TestReplaceExiting_Exec_EndsWithTheCode(t *testing.T) {
	t.Parallel()
	install, err := testfleet.NewInstall(t.TempDir(), "/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range []byte{0, 1, 70} {
		if err := install.ReplaceExiting(code); err != nil {
			t.Fatal(err)
		}
		err := exec.Command(install.Path()).Run()
		got := 0
		if failed, ok := errors.AsType[*exec.ExitError](err); ok {
			got = failed.ExitCode()
		}
		if got != int(code) {
			t.Errorf("it ended with %d (%v), want %d", got, err, code)
		}
	}
}
