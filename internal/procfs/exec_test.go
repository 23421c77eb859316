// SPDX-License-Identifier: MIT

//go:build linux

package procfs_test

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"ebpf-upgrader/internal/procfs"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
)

// untilToldToGoOn says that the process is ready to exec.
func untilToldToGoOn() error {
	if _, err := os.Stdout.WriteString("ready\n"); err != nil {
		return err
	}
	_, err := bufio.NewReader(os.Stdin).ReadString('\n')
	return err
}

// execShell has all of Go's handlers, until it execs a shell, which has none.
func execShell() error {
	if err := untilToldToGoOn(); err != nil {
		return err
	}
	argv := []string{"rag-rat", "-c", "read -r line", "mcp"}
	return syscall.Exec("/bin/sh", argv, []string{variable + "=/bin/sh"})
}

// execOther is a server until it is told to go on, and then a shell that is none, which catches the signal, too.
func execOther() error {
	if err := untilToldToGoOn(); err != nil {
		return err
	}
	argv := []string{"other", "-c", "trap : USR1; echo other; read -r line"}
	return syscall.Exec("/bin/sh", argv, []string{variable + "=" + os.Getenv(variable)})
}

// execAgain execs what it is.
func execAgain() error {
	if err := untilToldToGoOn(); err != nil {
		return err
	}
	return syscall.Exec("/proc/self/exe", os.Args, os.Environ())
}

// TestExec_UnderWay_IsMidExec looks without pause at processes that exec, until it
// has caught one whose image is the next one already while its arguments are not there yet.
func TestExec_UnderWay_IsMidExec(t *testing.T) {
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

func caughtMidExec(t *testing.T, fs *procfs.FS) bool {
	t.Helper()
	pid, goOn := execer(t)
	query := procfs.Query{
		Pattern: selector.Pattern{Names: []string{"rag-rat"}, Subcommand: "mcp"}, Variable: variable, Signal: syscall.SIGUSR1,
	}
	before, err := fs.Inspect(pid, query)
	if err != nil || !before.Catches || before.MidExec {
		t.Fatalf("before its exec: %+v, %v, want one that catches the signal", before, err)
	}
	goOn()
	for {
		p, err := fs.Inspect(pid, query)
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

// TestExec_DuringInspection_IsMidExec: its variable leads to a file system that answers when the process
// has become another program, with handlers of its own. A look that waited for the answer has the arguments of the
// one and the handlers of the other.
func TestExec_DuringInspection_IsMidExec(t *testing.T) {
	t.Parallel()
	needRoot(t)
	var becomeOther atomic.Pointer[func()]
	dir := mounted(t, func(dir string) (func() error, error) {
		return testfleet.MountAsking(dir, func() { (*becomeOther.Load())() })
	})
	deadline := time.Now().Add(time.Minute)
	for looks := 1; ; looks++ {
		r := server(t, program{role: "exec other", env: []string{variable + "=" + filepath.Join(dir, testfleet.Asked)}})
		goOn := sync.OnceFunc(func() {
			_, _ = io.WriteString(r.in, "go\n")
			_, _ = r.out.ReadString('\n')
		})
		becomeOther.Store(&goOn)
		p := inspect(t, open(t), r)
		_ = r.Kill()
		if p.Subcommand && p.Unreadable.Fact == "" { // the answer came in time
			if !p.MidExec || !p.Catches || p.Image == imageOf(t, executable(t)) || !p.Target.Known() {
				t.Errorf("a server that became another program while it was read is %+v", p)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("none of %d looks waited for the file system until it had answered: %+v", looks, p)
		}
	}
}
