// SPDX-License-Identifier: MIT

//go:build linux

package procfs_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

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

// waitForEnd returns when the test that started us closes our input, or ends.
func waitForEnd() { _, _ = io.Copy(io.Discard, os.Stdin) }

func play(role, argument string) error {
	switch role {
	case "armed": // Go has handlers for all signals
		return nil
	case "deaf":
		return setDefault(unix.SIGUSR1)
	case "leaderless":
		go func() {
			fmt.Println("ready")
			waitForEnd()
			os.Exit(0)
		}()
		_, _, errno := syscall.Syscall(syscall.SYS_EXIT, 0, 0, 0)
		return errno
	case "fork":
		return forkPaused()
	case "chroot":
		return syscall.Chroot(argument)
	case "chroot later":
		if err := untilToldToGoOn(); err != nil {
			return err
		}
		return syscall.Chroot("/proc")
	case "exec":
		return execShell()
	case "exec other":
		return execOther()
	case "exec again":
		return execAgain()
	case "user":
		return becomeUser()
	case "silent arguments":
		return testfleet.SilenceArguments(argument)
	case "silent environment":
		return testfleet.SilenceEnvironment(argument)
	case "endless arguments":
		return testfleet.EndlessArguments("rag-rat")
	case "endless environment":
		return testfleet.EndlessEnvironment()
	case "apart":
		return makeUserNamespace(argument)
	case "inspect":
		return look(argument)
	case "inspect as nobody":
		return inspectAsNobody(argument)
	}
	return fmt.Errorf("no role %q", role)
}

// setDefault takes Go's handler away behind the runtime's back.
func setDefault(sig unix.Signal) error {
	var action [64]byte // a struct sigaction of any architecture; all zeros is SIG_DFL
	_, _, errno := syscall.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig),
		uintptr(unsafe.Pointer(&action[0])), 0, 8, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// forkPaused makes a child of our parent that stays what it is, and says its number.
func forkPaused() error {
	child, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, unix.CLONE_PARENT|uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 {
		return errno
	}
	for child == 0 { // only raw system calls from here on: the runtime's other threads are not here
		_, _, _ = syscall.RawSyscall6(unix.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
	}
	fmt.Println(child)
	return nil
}

func becomeUser() error {
	if err := syscall.Setgroups([]int{7, 8}); err != nil {
		return err
	}
	if err := syscall.Setresgid(11, 12, 13); err != nil {
		return err
	}
	return syscall.Setresuid(21, 22, 23)
}

// makeUserNamespace becomes a user, makes a user namespace as him, and starts a process in it, of which
// it says the number.
func makeUserNamespace(argument string) error {
	user, err := strconv.Atoi(argument)
	if err != nil {
		return err
	}
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setresgid(user, user, user), syscall.Setresuid(user, user, user)); err != nil {
		return err
	}
	child, err := os.StartProcess("/proc/self/exe", []string{"rag-rat", "mcp"}, &os.ProcAttr{
		Env: append(os.Environ(), roleVariable+"=armed"), Files: []*os.File{os.Stdin, nil, os.Stderr},
		Sys: &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	fmt.Println(child.Pid)
	waitForEnd()
	return child.Kill()
}

// inspectAsNobody prints what a user without rights can see of a process.
func inspectAsNobody(argument string) error {
	if err := syscall.Setgroups(nil); err != nil {
		return err
	}
	if err := syscall.Setresuid(65534, 65534, 65534); err != nil {
		return err
	}
	return look(argument)
}

// look prints what can be seen of a process from here.
func look(argument string) error {
	fs, err := procfs.NewFS("/proc")
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(argument)
	if err != nil {
		return err
	}
	p, err := fs.Inspect(selector.PID(pid), query())
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(p)
}

func query() procfs.Query {
	return procfs.Query{
		Pattern:  selector.Pattern{Names: []string{"rag-rat"}, Subcommand: "mcp"},
		Variable: variable,
		Signal:   syscall.SIGUSR1,
	}
}

// program is a process to be started: a role of this binary by default.
type program struct {
	role string
	path string // another executable
	dir  string
	args []string // "rag-rat mcp" by default
	env  []string
	sys  *syscall.SysProcAttr
}

// running is a started process. Its end is seen to by the test's cleanup.
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

// server starts a process and waits until it is what its role says.
func server(t testing.TB, p program) *running {
	t.Helper()
	if p.role == "" {
		p.role = "armed"
	}
	r := start(t, p)
	if line := r.line(t); line != "ready" {
		t.Fatalf("%s says %q, want ready", p.role, line)
	}
	return r
}

func (r *running) line(t testing.TB) string {
	t.Helper()
	line, err := r.out.ReadString('\n')
	if err != nil {
		t.Fatalf("process %d says nothing: %v", r.pid, err)
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

// eventually polls, and says what did not happen.
func eventually(t testing.TB, what string, happened func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !happened() {
		select {
		case <-deadline:
			t.Fatalf("within 10s it did not happen that %s", what)
		case <-tick.C:
		}
	}
}

// needRoot skips a test, or fails it where everything has to run.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("REQUIRE_BPF") == "1" {
		t.Fatal("needs root, and REQUIRE_BPF=1 says that it must run")
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
