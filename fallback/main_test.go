// SPDX-License-Identifier: MIT

//go:build linux

package fallback_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"ebpf-upgrader/fallback"
	"ebpf-upgrader/internal/procfs"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
)

// roleVariable makes the test binary one of the processes below.
const roleVariable = "FALLBACK_TEST_ROLE"

func TestMain(m *testing.M) {
	testfleet.Main()
	role := os.Getenv(roleVariable)
	if role == "" {
		os.Exit(m.Run())
	}
	runtime.LockOSThread() // the main goroutine is on the main thread here, and stays there
	switch role {
	case "execs":
		if hasTestEnded() { // otherwise it would exec for ever
			os.Exit(0)
		}
		fmt.Println("ready")
		_ = syscall.Exec("/proc/self/exe", os.Args, os.Environ())
	case "leaderless":
		go serve()
		_, _, _ = syscall.Syscall(syscall.SYS_EXIT, 0, 0, 0)
	}
	serve()
}

func serve() {
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin) // until the test ends
	os.Exit(0)
}

// hasTestEnded reports whether stdin is at its end: the test has closed it, or has ended.
func hasTestEnded() bool {
	_ = syscall.SetNonblock(0, true)
	n, err := syscall.Read(0, make([]byte, 1))
	return n == 0 && err == nil
}

// running is a started process. The cleanup of the test ends it.
type running struct {
	*os.Process
	pid selector.PID
	out *bufio.Reader
}

// start starts a process of this binary, and waits until it is ready.
func start(t testing.TB, path, role string, args ...string) *running {
	t.Helper()
	stdin, in := pipe(t)
	out, stdout := pipe(t)
	started, err := os.StartProcess(path, args, &os.ProcAttr{
		Env: []string{roleVariable + "=" + role}, Files: []*os.File{stdin, stdout, os.Stderr},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = started.Kill()
		_, _ = started.Wait()
	})
	_, _ = stdin.Close(), stdout.Close()
	r := &running{started, selector.PID(started.Pid), bufio.NewReader(out)}
	r.ready(t)
	return r
}

func (r *running) ready(t testing.TB) {
	t.Helper()
	if line, err := r.out.ReadString('\n'); strings.TrimSpace(line) != "ready" {
		t.Fatalf("process %d printed %q, %v, want ready", r.pid, line, err)
	}
}

func pipe(t testing.TB) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = r.Close(), w.Close() })
	return r, w
}

func executable(t testing.TB) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func pattern() selector.Pattern {
	return selector.Pattern{Names: []string{"rag-rat"}, Subcommand: "mcp"}
}

func scanner(t testing.TB) *fallback.Scanner {
	t.Helper()
	fs, err := procfs.NewFS("/proc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = fs.Close() })
	return fallback.New(fs, pattern())
}

// eventually polls, and fails with what did not happen.
func eventually(t testing.TB, what string, happened func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !happened() {
		select {
		case <-deadline:
			t.Fatalf("did not happen within 10 s: %s", what)
		case <-tick.C:
		}
	}
}

// takesLong skips a test of many processes or of seconds where only the short ones are wanted: go test -short.
func takesLong(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes long")
	}
}

// needRoot skips a test without root, or fails it where every test must run.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("REQUIRE_BPF") == "1" {
		t.Fatal("needs root, and REQUIRE_BPF=1 is set")
	}
	t.Skip("needs root")
}
