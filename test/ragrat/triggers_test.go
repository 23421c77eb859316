// SPDX-License-Identifier: MIT

//go:build linux && amd64

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"ebpf-upgrader/test/ragrat/agents"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == refusing {
		panic(startRefusing(os.Args[2:]))
	}
	os.Exit(m.Run())
}

func TestRefuse_KillWithSIGUSR1_Fails(t *testing.T) {
	for script, want := range map[string]string{
		"kill -USR1 $$":               "exit status 1",
		"kill -USR2 $$":               "signal: user defined signal 2",
		"sh -c 'kill -USR1 $$'":       "exit status 1",
		"kill -0 $$ && kill -0 $PPID": "exit status 0",
	} {
		cmd := exec.Command("/bin/sh", "-c", script)
		refuse(cmd)
		_ = cmd.Run() // the state has the same information
		if got := cmd.ProcessState.String(); got != want {
			t.Errorf("%s: %s, want %s", script, got, want)
		}
	}
}

func TestOpens_WalkAndExec_AreCounted(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	program := filepath.Join(t.TempDir(), "program")
	if err := agents.Put(program, exits(0), 0); err != nil {
		t.Fatal(err)
	}
	count, err := countOpens(program)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = count.close() }()
	begin := time.Now()
	if err := exec.Command(program).Run(); err != nil {
		t.Fatal(err)
	}
	walker := exec.Command("/bin/ls", "/proc")
	if err := walker.Run(); err != nil {
		t.Fatal(err)
	}
	pids := []int{walker.Process.Pid}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		walks, walkers, last := count.walksSince(begin, pids)
		if walks == 1 && walkers == 1 && last.After(begin) && count.fileOpens() == 1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("counted %d walks of %d processes and %d opens of the file, want 1, 1 and 1", walks, walkers, count.fileOpens())
		}
	}
}

func TestTriggerLoad_NoWorktrees_IsAnError(t *testing.T) {
	for _, c := range []triggerLoad{{worktrees: -1}, {worktrees: 1, processes: -1}, {processes: 1}, {own: true}, {apart: true}, {flags: "--settle 1s"}} {
		if c.check() == nil {
			t.Errorf("%+v is no error", c)
		}
	}
	for _, c := range []triggerLoad{{}, {worktrees: 1}, {worktrees: 1, processes: 1, own: true}} {
		if err := c.check(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
