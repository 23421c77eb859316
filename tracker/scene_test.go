// SPDX-License-Identifier: MIT

//go:build linux

package tracker_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ebpf-upgrader/fallback"
	"ebpf-upgrader/internal/procfs"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
	"ebpf-upgrader/tracker"
)

func TestMain(m *testing.M) {
	testfleet.Main()
	os.Exit(m.Run())
}

// patience is how long a test waits for an event that must come.
const patience = 20 * time.Second

// needBPF skips a test that loads kernel programs where that is impossible. CI sets REQUIRE_BPF, and the test fails
// then.
func needBPF(tb testing.TB) {
	tb.Helper()
	_, err := os.Stat("/sys/kernel/btf/vmlinux")
	if os.Geteuid() == 0 && err == nil {
		return
	}
	if os.Getenv("REQUIRE_BPF") == "1" {
		tb.Fatalf("needs root and BTF: uid %d, %v", os.Geteuid(), err)
	}
	tb.Skipf("needs root and BTF: uid %d, %v", os.Geteuid(), err)
}

// names numbers the server names, so that parallel tests do not see each other's servers.
var names atomic.Int32

// scene is a tracker for servers of one name that no other test has.
type scene struct {
	*tracker.Tracker
	t    testing.TB
	name string
	scan func(context.Context) ([]selector.PID, error)
	cfg  tracker.Config
}

// newScene opens a tracker that is seeded by a real scan. change may alter the configuration.
func newScene(t testing.TB, change func(*scene, *tracker.Config)) *scene {
	t.Helper()
	needBPF(t)
	s := &scene{t: t, name: fmt.Sprintf("tracked-%d-%d", os.Getpid(), names.Add(1))}
	pattern := selector.Pattern{Names: []string{s.name}, Subcommand: "mcp"}
	s.scan = s.scanFor(pattern)
	cfg := tracker.Config{Pattern: pattern, Seed: s.scan}
	if change != nil {
		change(s, &cfg)
	}
	s.cfg = cfg
	s.reopen(tracker.Open)
	return s
}

func (s *scene) scanFor(pattern selector.Pattern) func(context.Context) ([]selector.PID, error) {
	s.t.Helper()
	procfs, err := procfs.NewFS("/proc")
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = procfs.Close() })
	return fallback.New(procfs, pattern).Candidates
}

// reopen opens the tracker again, by another function.
func (s *scene) reopen(open func(context.Context, tracker.Config) (*tracker.Tracker, error)) {
	s.t.Helper()
	again, err := open(s.t.Context(), s.cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = again.Close() })
	s.Tracker = again
}

// process is a shell that reads one line and runs it as a command.
type process struct {
	*exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
}

// spawn starts a shell with the given argv[0] and arguments. It ignores SIGUSR1. When spawn returns, the tracepoint of
// its exec has run, because the shell has printed a line.
func (s *scene) spawn(argv0 string, args ...string) *process {
	s.t.Helper()
	cmd := exec.Command("/bin/sh")
	cmd.Args = append([]string{argv0, "-c", `trap "" USR1; echo up; read -r line; eval "$line"`}, args...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	p := &process{cmd, stdin, bufio.NewReader(stdout)}
	if line, err := p.stdout.ReadString('\n'); line != "up\n" {
		s.t.Fatalf("the shell printed %q, %v", line, err)
	}
	return p
}

func (p *process) pid() selector.PID { return selector.PID(p.Process.Pid) }

// run makes the shell run a command.
func (p *process) run(t testing.TB, line string) {
	t.Helper()
	if _, err := io.WriteString(p.stdin, line+"\n"); err != nil {
		t.Fatal(err)
	}
}

// serve starts a real server under the scene's name.
func (s *scene) serve(behaviour testfleet.Behaviour) *testfleet.Server {
	s.t.Helper()
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	server, err := testfleet.Start(s.within(), testfleet.Options{
		Binary: self, Argv0: s.name, UpgradeBin: &self, Behaviour: behaviour,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = server.Stop() })
	if err := server.AwaitArmed(s.within(), 0); err != nil {
		s.t.Fatal(err)
	}
	return server
}

func (s *scene) within() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	s.t.Cleanup(cancel)
	return ctx
}

// held returns the candidates. Processes of other tests may be among them: a scan reports every process that has lost
// its leader, by any name.
func (s *scene) held() []selector.PID {
	s.t.Helper()
	pids, err := s.Candidates(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return pids
}

func (s *scene) holds(pid selector.PID) bool {
	s.t.Helper()
	return slices.Contains(s.held(), pid)
}

func (s *scene) stats() tracker.Stats {
	s.t.Helper()
	stats, err := s.Stats()
	if err != nil {
		s.t.Fatal(err)
	}
	return stats
}

// await reads events until one is of the kind and the process. It fails if the process has an event of a kind in not
// before that.
func (s *scene) await(kind selector.EventKind, pid selector.PID, not ...selector.EventKind) selector.Event {
	s.t.Helper()
	alarm := time.AfterFunc(patience, func() { _ = s.Close() })
	defer alarm.Stop()
	for {
		e, err := s.Next()
		switch {
		case errors.Is(err, tracker.ErrClosed):
			s.t.Fatalf("no %s of %d within %s", kind, pid, patience)
		case err != nil:
			s.t.Fatal(err)
		case e.PID == pid && e.Kind == kind:
			return e
		case e.PID == pid && slices.Contains(not, e.Kind):
			s.t.Fatalf("%s of %d came before its %s", e.Kind, pid, kind)
		}
	}
}

// awaitFork reads events until a server has forked. Servers of this name are the test's own.
func (s *scene) awaitFork() selector.PID {
	s.t.Helper()
	alarm := time.AfterFunc(patience, func() { _ = s.Close() })
	defer alarm.Stop()
	for {
		e, err := s.Next()
		switch {
		case err != nil:
			s.t.Fatalf("no fork within %s: %v", patience, err)
		case e.Kind == selector.EventFork:
			return e.PID
		}
	}
}

func long(n int) string { return strings.Repeat("x", n) }
