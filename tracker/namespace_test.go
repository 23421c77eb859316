// SPDX-License-Identifier: MIT

//go:build linux

package tracker_test

import (
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
	"ebpf-upgrader/tracker"
)

// inside is the number of nested PID namespaces that this test binary was started in.
const inside = "TRACKER_TEST_INSIDE"

// depth is 0 unless enter started this process.
func depth() int {
	n, _ := strconv.Atoi(os.Getenv(inside))
	return n
}

// enter runs tests of this binary in a new PID namespace, with a /proc of its own.
func enter(t *testing.T, tests string, env ...string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", `mount -t proc proc /proc && exec "$0" "$@"`, self, "-test.run="+tests, "-test.v")
	cmd.Env = append(append(os.Environ(), inside+"="+strconv.Itoa(depth()+1)), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS, Unshareflags: unix.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS") || strings.Contains(string(out), "--- SKIP") {
		t.Errorf("%d PID namespaces in: %v\n%s", depth()+1, err, out)
	}
}

// TestNamespace_Inside_SameSet runs the tests of the set in a PID namespace, and in one within that. PIDs differ from
// those of the host there.
func TestNamespace_Inside_SameSet(t *testing.T) {
	needBPF(t)
	if depth() == 2 {
		return
	}
	enter(t, "^Test(Set_Possible|Exec_|Exit_|Fork_|Signal_|Seed_|Audit_|Namespace_Inside_SameSet$)")
}

// TestNamespace_Outside_NotHeld runs servers of one name outside and inside of a namespace, and a tracker in each.
func TestNamespace_Outside_NotHeld(t *testing.T) {
	const pattern = "TRACKER_TEST_NAME"
	if depth() > 0 {
		heldInside(t, os.Getenv(pattern))
		return
	}
	s := newScene(t, nil)
	own := s.spawn(s.name, "mcp").pid()
	enter(t, "^TestNamespace_Outside_NotHeld$", pattern+"="+s.name)
	other := own
	for other == own {
		other = s.awaitKind(selector.EventExec)
	}
	s.await(selector.EventExit, other)
	if held := s.held(); !slices.Contains(held, own) || slices.Contains(held, other) {
		t.Errorf("%v are held, want %d, and not %d, which ended inside", held, own, other)
	}
}

// heldInside starts a server beside one outside, and wants to see that one only, and no event of the
// other.
func heldInside(t *testing.T, name string) {
	s := newScene(t, func(s *scene, c *tracker.Config) {
		s.name = name
		c.Pattern.Names = []string{name}
		c.Seed = s.scanFor(c.Pattern)
		c.Signal = syscall.SIGUSR1
	})
	p := s.spawn(name, "mcp")
	if held := s.held(); len(held) != 1 || held[0] != p.pid() {
		t.Errorf("%v are held, want [%d]", held, p.pid())
	}
	if err := p.Process.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	if e := s.await(selector.EventSignal, p.pid()); e.Sender != selector.PID(os.Getpid()) {
		t.Errorf("the signal came from %d, want %d", e.Sender, os.Getpid())
	}
	trace, err := s.Trace(p.pid())
	if err != nil || trace.SignalledAt.IsZero() {
		t.Errorf("the trace is %+v, %v", trace, err)
	}
}

// awaitKind reads events until one is of the kind.
func (s *scene) awaitKind(kind selector.EventKind) selector.PID {
	s.t.Helper()
	for {
		e, err := s.Next()
		if err != nil {
			s.t.Fatalf("no %s: %v", kind, err)
		}
		if e.Kind == kind {
			return e.PID
		}
	}
}

// TestTimeNamespace_Offset_TimesAreRight runs a test of times where CLOCK_MONOTONIC is a day ahead of the kernel's.
func TestTimeNamespace_Offset_TimesAreRight(t *testing.T) {
	needBPF(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("unshare", "--time", "--monotonic", "86400", "--boottime", "86400",
		self, "-test.run=^TestSignal_OtherSender_Reported$", "-test.v").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Errorf("in a time namespace: %v\n%s", err, out)
	}
}
