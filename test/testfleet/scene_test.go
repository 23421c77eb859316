// SPDX-License-Identifier: MIT

//go:build linux

package testfleet_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
)

// asControl makes the test binary a control process with one daemon, one server and one child, which waits until it is
// killed.
const asControl = "TESTFLEET_TEST_AS_CONTROL"

func TestMain(m *testing.M) {
	testfleet.Main()
	if dir := os.Getenv(asControl); dir != "" {
		control(dir)
	}
	os.Exit(m.Run())
}

// patience is how long a test waits for an event that must come. It is long because the machine may be busy.
const patience = time.Minute

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// takesLong skips a test of many processes or of seconds where only the short ones are wanted: go test -short.
func takesLong(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes long")
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("REQUIRE_BPF") == "1" {
		t.Fatal("needs root")
	}
	t.Skip("needs root")
}

func thisBinary(t testing.TB) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func newInstall(t *testing.T) *testfleet.Install {
	t.Helper()
	// Not t.TempDir: other users may not search its parent.
	dir, err := os.MkdirTemp("", "testfleet-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	i, err := testfleet.NewInstall(dir, thisBinary(t))
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// replace installs a new copy, and returns its image.
func replace(t *testing.T, i *testfleet.Install) selector.Image {
	t.Helper()
	if err := i.Replace(thisBinary(t)); err != nil {
		t.Fatal(err)
	}
	return installed(t, i)
}

func installed(t *testing.T, i *testfleet.Install) selector.Image {
	t.Helper()
	image, err := i.Image()
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func options(i *testfleet.Install, b testfleet.Behaviour) testfleet.Options {
	path := i.Path()
	return testfleet.Options{Binary: path, UpgradeBin: &path, Behaviour: b}
}

func start(t *testing.T, o testfleet.Options) *testfleet.Server {
	t.Helper()
	s, err := testfleet.Start(within(t), o)
	if err != nil {
		t.Fatalf("start a server: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Errorf("stop server %d: %v", s.PID(), err)
		}
	})
	return s
}

// armed starts a server of i and waits until it is armed.
func armed(t *testing.T, i *testfleet.Install, b testfleet.Behaviour) *testfleet.Server {
	t.Helper()
	s := start(t, options(i, b))
	awaitArmed(t, s, 0)
	return s
}

func awaitArmed(t *testing.T, s *testfleet.Server, generation int) {
	t.Helper()
	if err := s.AwaitArmed(within(t), generation); err != nil {
		t.Fatalf("server is not armed in generation %d: %v", generation, err)
	}
}

func await(t *testing.T, s *testfleet.Server, kind testfleet.Kind) testfleet.Event {
	t.Helper()
	e, err := s.Await(within(t), func(e testfleet.Event) bool { return e.Kind == kind })
	if err != nil {
		t.Fatalf("no %q: %v", kind, err)
	}
	return e
}

// awaitSignals waits until the server has reported n signals.
func awaitSignals(t *testing.T, s *testfleet.Server, n int) {
	t.Helper()
	if _, err := s.Await(within(t), func(testfleet.Event) bool { return s.Signals() >= n }); err != nil {
		t.Fatalf("server has reported %d signals, want %d: %v", s.Signals(), n, err)
	}
}

func signal(t *testing.T, s *testfleet.Server) {
	t.Helper()
	if err := s.Signal(unix.SIGUSR1); err != nil {
		t.Fatal(err)
	}
}

// ended waits for the end of a server, and returns how it ended.
func ended(t *testing.T, s *testfleet.Server) syscall.WaitStatus {
	t.Helper()
	select {
	case <-s.Exited():
	case <-time.After(patience):
		t.Fatalf("server %d has not ended", s.PID())
	}
	status, _ := s.ExitState().Sys().(syscall.WaitStatus)
	return status
}

func diedOf(status syscall.WaitStatus, sig syscall.Signal) bool {
	return status.Signaled() && status.Signal() == sig
}

// read returns the content of a file of a process in /proc.
func read(t *testing.T, pid selector.PID, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", pid.String(), file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// mask returns a signal set from /proc/PID/status.
func mask(t *testing.T, pid selector.PID, field string) uint64 {
	t.Helper()
	_, after, _ := strings.Cut(read(t, pid, "status"), "\n"+field+":\t")
	value, _, _ := strings.Cut(after, "\n")
	bits, err := strconv.ParseUint(value, 16, 64)
	if err != nil {
		t.Fatalf("%s of %d: %v", field, pid, err)
	}
	return bits
}

// catches reports whether SigCgt has SIGUSR1.
func catches(t *testing.T, pid selector.PID) bool {
	t.Helper()
	return mask(t, pid, "SigCgt")&(1<<(unix.SIGUSR1-1)) != 0
}

// runs reports whether a process runs an image.
func runs(pid selector.PID, image selector.Image) bool {
	var st unix.Stat_t
	err := unix.Stat(filepath.Join("/proc", pid.String(), "exe"), &st)
	return err == nil && st.Ino == image.Ino
}

// stat returns the fields of /proc/PID/stat after the name: field 0 is the state, field 6 the flags.
func stat(t *testing.T, pid selector.PID) []string {
	t.Helper()
	text := read(t, pid, "stat")
	return strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
}

// forkNoExec is PF_FORKNOEXEC of include/linux/sched.h.
const forkNoExec = 0x40

func hasNotExecd(t *testing.T, pid selector.PID) bool {
	t.Helper()
	flags, err := strconv.ParseUint(stat(t, pid)[6], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return flags&forkNoExec != 0
}

// lives reports whether a process exists and is no zombie.
func lives(pid selector.PID) bool {
	text, err := os.ReadFile(filepath.Join("/proc", pid.String(), "stat"))
	return err == nil && !strings.Contains(string(text), ") Z ") && !strings.Contains(string(text), ") X ")
}

// eventually polls a condition that no event reports.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("within %s: not %s", patience, what)
		}
		time.Sleep(time.Millisecond)
	}
}

// command returns a command that runs this test binary in another role.
func command(t *testing.T, env string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(thisBinary(t), args...)
	cmd.Env = append(os.Environ(), env)
	cmd.Stderr = os.Stderr
	return cmd
}

var errNoServers = errors.New("no processes were named")
