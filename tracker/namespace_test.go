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

// inside counts in how many PID namespaces of its own this binary runs as a test.
const inside = "TRACKER_TEST_INSIDE"

// depth is 0 in the test that everybody starts.
func depth() int {
	n, _ := strconv.Atoi(os.Getenv(inside))
	return n
}

// enter runs tests of this binary one PID namespace further in, with a /proc of its own.
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

// TestInAPIDNamespaceTheSetIsTheSame runs the tests of the set there, in which it is asked for by the
// numbers of the processes inside: in one, and in one within another.
func TestInAPIDNamespaceTheSetIsTheSame(t *testing.T) {
	needBPF(t)
	if depth() == 2 {
		return
	}
	const tests = "^(TestTheSetHolds|TestAnExec|TestAnExit|TestADeath|TestAServerWhoseLeader|TestAFork|TestADaemon|" +
		"TestASignal|TestAServerThat|TestAnAudit|TestInAPIDNamespaceTheSetIsTheSame$)"
	enter(t, tests)
}

// TestOnlyWhatIsVisibleInThePIDNamespaceIsHeld has servers of one name outside and inside, and a tracker
// in each place.
func TestOnlyWhatIsVisibleInThePIDNamespaceIsHeld(t *testing.T) {
	const pattern = "TRACKER_TEST_NAME"
	if depth() > 0 {
		heldInside(t, os.Getenv(pattern))
		return
	}
	s := newScene(t, nil)
	own := s.spawn(s.name, "mcp").pid()
	enter(t, "^TestOnlyWhatIsVisibleInThePIDNamespaceIsHeld$", pattern+"="+s.name)
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
