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

// awaitGo reports that the process is ready, and waits for the go to exec.
func awaitGo() error {
	if _, err := os.Stdout.WriteString("ready\n"); err != nil {
		return err
	}
	_, err := bufio.NewReader(os.Stdin).ReadString('\n')
	return err
}

// execShell has all of Go's handlers until it execs a shell, which has none.
func execShell() error {
	if err := awaitGo(); err != nil {
		return err
	}
	argv := []string{"rag-rat", "-c", "read -r line", "mcp"}
	return syscall.Exec("/bin/sh", argv, []string{variable + "=/bin/sh"})
}

// execOther is a server until it execs a shell, which is not a server and has a handler for the signal, too.
func execOther() error {
	if err := awaitGo(); err != nil {
		return err
	}
	argv := []string{"other", "-c", "trap : USR1; echo other; read -r line"}
	return syscall.Exec("/bin/sh", argv, []string{variable + "=" + os.Getenv(variable)})
}

// execAgain execs its own binary.
func execAgain() error {
	if err := awaitGo(); err != nil {
		return err
	}
	return syscall.Exec("/proc/self/exe", os.Args, os.Environ())
}

// It inspects processes that exec, without a pause, until one has the next image already and no arguments yet.
func TestExec_UnderWay_IsMidExec(t *testing.T) {
	t.Parallel()
	procfs := open(t)
	deadline := time.Now().Add(30 * time.Second)
	for execs := 1; ; execs++ {
		if caughtMidExec(t, procfs) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("none of %d inspections met a process in the middle of its exec", execs)
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
		t.Fatalf("before its exec: %+v, %v, want a handler", before, err)
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
			return false // the exec is over
		}
	}
}

// execer starts a process that execs when goOn is called.
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
		t.Fatalf("the process printed %q, %v", line, err)
	}
	return selector.PID(cmd.Process.Pid), func() {
		if _, err := stdin.Write([]byte("go\n")); err != nil {
			t.Error(err)
		}
	}
}

// The variable leads to a file system that answers once the process is another program with handlers of its own. An inspection
// that waited for the answer has the arguments of the first program and the handlers of the second.
func TestExec_DuringInspection_IsMidExec(t *testing.T) {
	t.Parallel()
	needRoot(t)
	var becomeOther atomic.Pointer[func()]
	dir := mounted(t, func(dir string) (func() error, error) {
		return testfleet.MountObserved(dir, func() { (*becomeOther.Load())() })
	})
	deadline := time.Now().Add(time.Minute)
	for inspections := 1; ; inspections++ {
		r := server(t, program{role: "exec other", env: []string{variable + "=" + filepath.Join(dir, testfleet.Observed)}})
		goOn := sync.OnceFunc(func() {
			_, _ = io.WriteString(r.in, "go\n")
			_, _ = r.out.ReadString('\n')
		})
		becomeOther.Store(&goOn)
		p := inspect(t, open(t), r)
		_ = r.Kill()
		if p.Subcommand && p.Unreadable.Fact == "" { // the lookup ended in time
			if !p.MidExec || !p.Catches || p.Image == imageOf(t, executable(t)) || !p.Target.Known() {
				t.Errorf("a server that exec'd another program during the inspection: %+v", p)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("none of %d inspections got a late result of the file system: %+v", inspections, p)
		}
	}
}
