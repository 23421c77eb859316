// SPDX-License-Identifier: MIT

//go:build linux

package proc_test

import (
	"bufio"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"ebpf-upgrader/proc"
	"ebpf-upgrader/selector"
)

// execShell has all of Go's handlers, until it execs a shell, which has none.
func execShell() error {
	if _, err := os.Stdout.WriteString("ready\n"); err != nil {
		return err
	}
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	argv := []string{"rag-rat", "-c", "read -r line", "mcp"}
	return syscall.Exec("/bin/sh", argv, []string{variable + "=/bin/sh"})
}

// TestAProcessInTheMiddleOfItsExecIsToldAsSuch looks without pause at processes that exec, until it
// has caught one whose image is the next one already while its arguments are not there yet.
func TestAProcessInTheMiddleOfItsExecIsToldAsSuch(t *testing.T) {
	t.Parallel()
	procfs := open(t)
	deadline := time.Now().Add(30 * time.Second)
	for execs := 1; ; execs++ {
		if caughtMidExec(t, procfs) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("none of %d processes was caught in the middle of its exec", execs)
		}
	}
}

func caughtMidExec(t *testing.T, procfs *proc.FS) bool {
	t.Helper()
	pid, goOn := execer(t)
	query := proc.Query{
		Pattern: selector.Pattern{Names: []string{"rag-rat"}, Subcommand: "mcp"}, Variable: variable, Signal: syscall.SIGUSR1,
	}
	before, err := procfs.Inspect(pid, query)
	if err != nil || !before.Catches || before.MidExec {
		t.Fatalf("before its exec: %+v, %v, want one that catches the signal", before, err)
	}
	goOn()
	for {
		p, err := procfs.Inspect(pid, query)
		switch {
		case err != nil:
			t.Fatal(err)
		case p.MidExec:
			return true
		case p.Image.Known() && p.Image != before.Image:
			return false // it is through
		}
	}
}

// execer starts a process that execs as soon as goOn is called.
func execer(t *testing.T) (pid selector.PID, goOn func()) {
	t.Helper()
	cmd := exec.Command(executable(t))
	cmd.Args = []string{"rag-rat", "mcp"}
	cmd.Env = append(os.Environ(), roleVariable+"=exec", variable+"=/bin/sh")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the process said %q, %v", line, err)
	}
	return selector.PID(cmd.Process.Pid), func() {
		if _, err := stdin.Write([]byte("go\n")); err != nil {
			t.Error(err)
		}
	}
}
