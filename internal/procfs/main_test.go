// SPDX-License-Identifier: MIT

//go:build linux

package procfs_test

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

	"ebpf-upgrader/internal/procfs"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
)

// roleVariable makes the test binary one of the processes below.
const roleVariable = "PROC_TEST_ROLE"

const variable = "RAG_RAT_UPGRADE_BIN"

func TestMain(m *testing.M) {
	testfleet.Main()
	role, argument, _ := strings.Cut(os.Getenv(roleVariable), "=")
	if role == "" {
		os.Exit(m.Run())
	}
	runtime.LockOSThread() // the main goroutine is on the main thread here, and stays there
	if err := play(role, argument); err != nil {
		fmt.Println("broken:", err)
		os.Exit(1)
	}
	fmt.Println("ready")
	waitForEnd()
}

func query() procfs.Query {
	return procfs.Query{
		Pattern:  selector.Pattern{Names: []string{"rag-rat"}, Subcommand: "mcp"},
		Variable: variable,
		Signal:   syscall.SIGUSR1,
	}
}

// program is a process to start: a role of this binary by default.
type program struct {
	role string
	path string // another executable
	dir  string
	args []string // "rag-rat mcp" by default
	env  []string
	sys  *syscall.SysProcAttr
}

// running is a started process. The cleanup of the test ends it.
type running struct {
	*os.Process
	pid selector.PID
	out *bufio.Reader
	in  io.WriteCloser
}

func start(t testing.TB, p program) *running {
	t.Helper()
	stdin, in := pipe(t)
	out, stdout := pipe(t)
	if p.path == "" {
		p.path = executable(t)
	}
	if p.args == nil {
		p.args = []string{"rag-rat", "mcp"}
	}
	started, err := os.StartProcess(p.path, p.args, &os.ProcAttr{
		Dir: p.dir, Env: append(p.env, roleVariable+"="+p.role),
		Files: []*os.File{stdin, stdout, os.Stderr}, Sys: p.sys,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = started.Kill()
		_, _ = started.Wait()
	})
	_ = stdin.Close()
	_ = stdout.Close()
	return &running{started, selector.PID(started.Pid), bufio.NewReader(out), in}
}

// server starts a process and waits until it has its role.
func server(t testing.TB, p program) *running {
	t.Helper()
	if p.role == "" {
		p.role = "armed"
	}
	r := start(t, p)
	if line := r.line(t); line != "ready" {
		t.Fatalf("%s printed %q, want ready", p.role, line)
	}
	return r
}

func (r *running) line(t testing.TB) string {
	t.Helper()
	line, err := r.out.ReadString('\n')
	if err != nil {
		t.Fatalf("process %d printed nothing: %v", r.pid, err)
	}
	return strings.TrimSpace(line)
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

func open(t testing.TB) *procfs.FS {
	t.Helper()
	fs, err := procfs.NewFS("/proc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = fs.Close() })
	return fs
}

func inspect(t testing.TB, fs *procfs.FS, r *running) selector.Process {
	t.Helper()
	p, err := fs.Inspect(r.pid, query())
	if err != nil {
		t.Fatal(err)
	}
	return p
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

func imageOf(t testing.TB, path string) selector.Image {
	t.Helper()
	var s syscall.Stat_t
	if err := syscall.Stat(path, &s); err != nil {
		t.Fatal(err)
	}
	return selector.Image{Dev: uint64(s.Dev), Ino: s.Ino} //nolint:unconvert // 32 bits on MIPS
}
