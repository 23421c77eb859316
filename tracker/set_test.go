// SPDX-License-Identifier: MIT

//go:build linux

package tracker_test

import (
	"slices"
	"strings"
	"syscall"
	"testing"

	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
	"ebpf-upgrader/tracker"
)

func TestSet_PossibleServer_Held(t *testing.T) {
	t.Parallel()
	s := newScene(t, nil)
	cases := map[string][]string{
		"bare name":                     {s.name, "mcp"},
		"absolute path":                 {"/usr/local/bin/" + s.name, "mcp"},
		"relative path":                 {"./" + s.name, "mcp"},
		"trailing slash":                {s.name + "/", "mcp"},
		"trailing slash and dot":        {"/x/" + s.name + "/.", "mcp"},
		"empty argv[0]":                 {"", s.name, "mcp"},
		"other arguments before":        {s.name, "--log", "x", "mcp"},
		"other arguments behind":        {s.name, "mcp", "--log", "x"},
		"an argument of two pages":      {s.name, long(8192), "mcp"},
		"argv[0] of two pages":          {"/" + long(8192) + "/" + s.name, "mcp"},
		"argv[0] that fills the buffer": {"/" + long(4095-2-len(s.name)) + "/" + s.name, "mcp"},
		"more arguments than the limit": append(append([]string{s.name}, slices.Repeat([]string{"x"}, 100)...), "mcp"),
	}
	for name, argv := range cases {
		if p := s.spawn(argv[0], argv[1:]...); !s.holds(p.pid()) {
			t.Errorf("%s: %d is not held", name, p.pid())
		}
	}
}

func TestSet_OtherProcess_NotHeld(t *testing.T) {
	t.Parallel()
	s := newScene(t, nil)
	cases := map[string][]string{
		"no argument":              {s.name},
		"another argument":         {s.name, "mcpx", "xmcp", "mc", "MCP"},
		"a longer name":            {s.name + "x", "mcp"},
		"a name with a prefix":     {"x" + s.name, "mcp"},
		"the name as a folder":     {"/" + s.name + "/sh", "mcp"},
		"the name as an argument":  {"sh", s.name, "mcp"},
		"the argument as argv[0]":  {"mcp", s.name},
		"a shorter name":           {s.name[1:], "mcp"},
		"the end of a longer path": {"/bin/a-" + s.name, "mcp"},
	}
	for name, argv := range cases {
		if p := s.spawn(argv[0], argv[1:]...); s.holds(p.pid()) {
			t.Errorf("%s: %d is held", name, p.pid())
		}
	}
}

// A name that does not fit into the kernel's buffer is matched by its end: the set may hold too many processes.
func TestSet_LongName_MatchedInPart(t *testing.T) {
	t.Parallel()
	name, subcommand := strings.Repeat("name", 30), strings.Repeat("sub", 10)
	s := newScene(t, func(_ *scene, c *tracker.Config) {
		c.Pattern = selector.Pattern{Names: []string{name}, Subcommand: subcommand}
	})
	if p := s.spawn("/bin/"+name, subcommand); !s.holds(p.pid()) {
		t.Errorf("%d is not held", p.pid())
	}
	if p := s.spawn("/bin/"+name, "other"); s.holds(p.pid()) {
		t.Errorf("%d, which has another argument, is held", p.pid())
	}
}

func TestSet_SeveralNames_EachHeld(t *testing.T) {
	t.Parallel()
	var names []string
	s := newScene(t, func(s *scene, c *tracker.Config) {
		for i := range selector.MaxNames {
			names = append(names, strings.Repeat("x", i)+s.name)
		}
		c.Pattern.Names = names
	})
	for _, name := range names {
		if p := s.spawn("/bin/"+name, "mcp"); !s.holds(p.pid()) {
			t.Errorf("%q is not held", name)
		}
	}
	for _, name := range []string{strings.Repeat("x", selector.MaxNames) + s.name, s.name[1:], "y" + s.name} {
		if p := s.spawn("/bin/"+name, "mcp"); s.holds(p.pid()) {
			t.Errorf("%q is held", name)
		}
	}
}

func TestOpen_InvalidName_Fails(t *testing.T) {
	t.Parallel()
	needBPF(t)
	for _, names := range [][]string{nil, {""}, {"a", ""}, {"a\x00b"}, make([]string, selector.MaxNames+1)} {
		cfg := tracker.Config{Pattern: selector.Pattern{Names: names, Subcommand: "mcp"}}
		if tr, err := tracker.Open(t.Context(), cfg); err == nil {
			t.Errorf("Open accepts the names %q", names)
			_ = tr.Close()
		}
	}
}

func TestExec_OtherProgram_Removed(t *testing.T) {
	t.Parallel()
	s := newScene(t, nil)
	p := s.spawn(s.name, "mcp")
	p.run(t, "exec sleep infinity")
	s.await(selector.EventExecOther, p.pid(), selector.EventExit)
	if s.holds(p.pid()) {
		t.Errorf("%d is still held", p.pid())
	}
}

func TestExit_Server_RemovedWithCode(t *testing.T) {
	t.Parallel()
	s := newScene(t, nil)
	p := s.spawn(s.name, "mcp")
	p.run(t, "exit 70")
	if e := s.await(selector.EventExit, p.pid()); syscall.WaitStatus(e.Exit.Status).ExitStatus() != 70 {
		t.Errorf("exit code %#x, want that of exit(70)", e.Exit.Status)
	}
	if s.holds(p.pid()) {
		t.Errorf("%d is still held", p.pid())
	}
}

// The program runs for each thread, and only the last one is the exit of the process.
func TestExit_ManyThreads_ReportedOnce(t *testing.T) {
	t.Parallel()
	s := newScene(t, nil)
	server := s.serve(testfleet.Behaviour{})
	if err := server.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	e := s.await(selector.EventExit, server.PID())
	if status := syscall.WaitStatus(e.Exit.Status); !status.Signaled() || status.Signal() != syscall.SIGKILL {
		t.Errorf("exit code %#x, want that of SIGKILL", e.Exit.Status)
	}
	if s.holds(server.PID()) {
		t.Errorf("%d is still held", server.PID())
	}
}

// The exit of the leader comes first, and is not the exit of the process.
func TestExec_FromThread_NoExit(t *testing.T) {
	t.Parallel()
	s := newScene(t, nil)
	server := s.serve(testfleet.Behaviour{})
	s.await(selector.EventExec, server.PID())
	if err := server.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	s.await(selector.EventExec, server.PID(), selector.EventExit, selector.EventExecOther)
	if !s.holds(server.PID()) {
		t.Errorf("%d is not held after its exec", server.PID())
	}
}

// A process lives until its last thread exits, which need not be the thread with its PID.
func TestExit_LeaderFirst_HeldUntilLastThread(t *testing.T) {
	t.Parallel()
	s := newScene(t, nil)
	server := s.serve(testfleet.Behaviour{LeaderExits: true})
	if !s.holds(server.PID()) {
		t.Fatalf("%d is not held, with its leader gone", server.PID())
	}
	if err := server.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.await(selector.EventExit, server.PID())
	if s.holds(server.PID()) {
		t.Errorf("%d is still held", server.PID())
	}
}

func TestFork_OfServer_HeldUntilExec(t *testing.T) {
	t.Parallel()
	s := newScene(t, nil)
	p := s.spawn(s.name, "mcp")
	p.run(t, "exec 3<&0; (read -r line <&3; exec sleep infinity) & wait") // a shell redirects the stdin of background jobs
	child := s.awaitFork()
	if !s.holds(child) {
		t.Errorf("the child %d is not held", child)
	}
	p.run(t, "go on")
	s.await(selector.EventExecOther, child)
	if s.holds(child) || !s.holds(p.pid()) {
		t.Errorf("held are %v, want the server %d without its child %d", s.held(), p.pid(), child)
	}
	t.Cleanup(func() { _ = syscall.Kill(int(child), syscall.SIGKILL) }) // it was forked for this test
}

func TestFork_ParentExits_DaemonHeld(t *testing.T) {
	t.Parallel()
	s := newScene(t, nil)
	server := s.serve(testfleet.Behaviour{Daemonise: true})
	if !s.holds(server.PID()) {
		t.Errorf("the daemon %d is not held", server.PID())
	}
}
