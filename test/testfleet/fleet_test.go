// SPDX-License-Identifier: MIT

//go:build linux

package testfleet_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
)

func TestFleet_TwoHundred_StartUpgradeStop(t *testing.T) {
	takesLong(t)
	const n = 200
	i := newInstall(t)
	began := time.Now()
	f, err := testfleet.StartFleet(within(t), n, options(i, testfleet.Behaviour{}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.StopAll() })
	if err := f.AwaitArmed(within(t), 0); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d servers armed after %s, %d kB resident each, of which %d kB its own", n, time.Since(began),
		sum(t, f.Servers()[0].PID(), "Rss:"), sum(t, f.Servers()[0].PID(), "Private_Dirty:"))
	want := replace(t, i)
	began = time.Now()
	for _, s := range f.Servers() {
		signal(t, s)
	}
	if err := f.AwaitArmed(within(t), 1); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d servers upgraded after %s", n, time.Since(began))
	for _, s := range f.Servers() {
		if s.Image() != want || s.Signals() != 1 {
			t.Errorf("server %d runs %s after %d signals, want %s after 1", s.PID(), s.Image(), s.Signals(), want)
		}
	}
	if err := errors.Join(f.StopAll(), f.StopAll()); err != nil {
		t.Errorf("stop all, twice: %v", err)
	}
	for _, s := range f.Servers() {
		if _, err := os.Stat(filepath.Join("/proc", s.PID().String())); err == nil {
			t.Errorf("server %d is still there", s.PID())
		}
	}
}

// sum returns a field of /proc/PID/smaps_rollup, in kB.
func sum(t *testing.T, pid selector.PID, field string) int {
	t.Helper()
	for line := range strings.Lines(read(t, pid, "smaps_rollup")) {
		if f := strings.Fields(line); f[0] == field {
			kb, _ := strconv.Atoi(f[1])
			return kb
		}
	}
	return 0
}

func TestStop_EveryBehaviour_LeavesNothing(t *testing.T) {
	i := newInstall(t)
	before := openFiles(t)
	var pids []selector.PID
	for _, b := range []testfleet.Behaviour{
		{},
		{NeverArm: true},
		{LeaderExits: true},
		{Daemonise: true},
		{ForkChild: true},
		{ForkChild: true, ChildExecs: testfleet.Duration(time.Millisecond)},
	} {
		s, err := testfleet.Start(within(t), options(i, b))
		if err != nil {
			t.Fatal(err)
		}
		if !b.NeverArm {
			awaitArmed(t, s, 0)
		}
		pids = append(pids, s.PID())
		if child := s.ChildPID(); child != 0 {
			pids = append(pids, child)
		}
		if err := errors.Join(s.Stop(), s.Stop()); err != nil {
			t.Errorf("stop %+v: %v", b, err)
		}
	}
	for _, pid := range pids {
		if lives(pid) {
			t.Errorf("process %d is still there", pid)
		}
	}
	if after := openFiles(t); len(after) > len(before) {
		t.Errorf("descriptors before: %q, after: %q", before, after)
	}
}

func openFiles(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var open []string
	for _, e := range entries {
		to, _ := os.Readlink(filepath.Join("/proc/self/fd", e.Name()))
		open = append(open, to)
	}
	return open
}

// During its start, the process may be about to fork the daemon.
func TestStop_DuringStart_LeavesNothing(t *testing.T) {
	t.Parallel()
	i := newInstall(t)
	for range 30 {
		s, err := testfleet.Start(within(t), options(i, testfleet.Behaviour{Daemonise: true}))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
		for _, e := range s.Events() {
			if lives(e.PID) {
				t.Errorf("process %d is still there", e.PID)
			}
		}
	}
}

// control runs in a control process that is killed. It prints the PIDs of its servers.
func control(dir string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	binary := filepath.Join(dir, testfleet.Name)
	for _, b := range []testfleet.Behaviour{
		{},
		{OutliveStdin: true, LeaderExits: true},
		{OutliveStdin: true, ExecFromMain: true},
		{Daemonise: true},
		{OutliveStdin: true, ForkChild: true},
		{OutliveStdin: true, ForkChild: true, ChildExecs: testfleet.Duration(time.Millisecond)},
	} {
		s, err := testfleet.Start(ctx, testfleet.Options{Binary: binary, UpgradeBin: &binary, Behaviour: b})
		if err == nil {
			err = s.AwaitArmed(ctx, 0)
		}
		if err == nil && b.ExecFromMain { // a server that has upgraded before
			err = errors.Join(s.Signal(unix.SIGUSR1), s.AwaitArmed(ctx, 1))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(s.PID(), s.ChildPID())
	}
	fmt.Println()
	select {}
}

func TestControl_Killed_LeavesNothing(t *testing.T) {
	t.Parallel()
	cmd := command(t, asControl+"="+newInstall(t).Dir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pids, err := readPIDs(bufio.NewScanner(out))
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		eventually(t, fmt.Sprintf("an end of process %d", pid), func() bool { return !lives(pid) })
	}
}

// readPIDs reads PIDs until an empty line.
func readPIDs(lines *bufio.Scanner) ([]selector.PID, error) {
	var pids []selector.PID
	for lines.Scan() {
		if lines.Text() == "" {
			break
		}
		for field := range strings.FieldsSeq(lines.Text()) {
			n, err := strconv.Atoi(field)
			if err != nil {
				return nil, err
			}
			pids = append(pids, selector.PID(n))
		}
	}
	pids = slices.DeleteFunc(pids, func(pid selector.PID) bool { return pid == 0 })
	if len(pids) == 0 {
		return nil, errNoServers
	}
	return pids, nil
}

func TestStart_MissingOrForeignFile_Fails(t *testing.T) {
	t.Parallel()
	if s, err := testfleet.Start(within(t), testfleet.Options{Binary: "/nowhere/rag-rat"}); err == nil || s != nil {
		t.Errorf("start of a missing file: %v, %v", s, err)
	}
	// A program that is no server ends without a report.
	if s, err := testfleet.Start(within(t), testfleet.Options{Binary: "/bin/true"}); !errors.Is(err, testfleet.ErrEnded) || s != nil {
		t.Errorf("start of true: %v, %v, want ErrEnded", s, err)
	}
}

func TestAwait_ContextOrServerEnds_Fails(t *testing.T) {
	t.Parallel()
	s := armed(t, newInstall(t), testfleet.Behaviour{})
	never := func(testfleet.Event) bool { return false }
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Await(ctx, never); !errors.Is(err, context.Canceled) {
		t.Errorf("await with a cancelled context: %v", err)
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Await(within(t), never); !errors.Is(err, testfleet.ErrEnded) {
		t.Errorf("await of a stopped server: %v, want ErrEnded", err)
	}
}

func TestStart_ManyLongArguments_Kept(t *testing.T) {
	t.Parallel()
	o := options(newInstall(t), testfleet.Behaviour{})
	o.Args = append(slices.Repeat([]string{"x"}, 1000), strings.Repeat("y", 100_000))
	s := start(t, o)
	awaitArmed(t, s, 0)
	signal(t, s)
	awaitArmed(t, s, 1)
	for _, e := range s.Events() {
		if e.Kind == testfleet.Started && !slices.Equal(e.Args[2:], o.Args) {
			t.Errorf("generation %d has %d arguments, want %d", e.Generation, len(e.Args), len(o.Args)+2)
		}
	}
}
