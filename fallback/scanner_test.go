// SPDX-License-Identifier: MIT

//go:build linux

package fallback_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/fallback"
	"ebpf-upgrader/internal/procfs"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
)

func candidates(t testing.TB, s *fallback.Scanner) []selector.PID {
	t.Helper()
	pids, err := s.Candidates(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.IsSorted(pids) || len(slices.Compact(slices.Clone(pids))) != len(pids) {
		t.Errorf("not ascending, or with duplicates: %v", pids)
	}
	return pids
}

func TestCandidates_AnyStart_FindsServers(t *testing.T) {
	t.Parallel()
	s := scanner(t)
	filler := func(n int) []string { return slices.Repeat([]string{strings.Repeat("x", 1023)}, n) }
	for name, c := range map[string]struct {
		args []string
		want bool
	}{
		"a bare name":                     {[]string{"rag-rat", "mcp"}, true},
		"an absolute path":                {[]string{"/usr/bin/rag-rat", "mcp"}, true},
		"a relative path":                 {[]string{"./rag-rat", "mcp"}, true},
		"a trailing slash":                {[]string{"/usr/bin/rag-rat/", "mcp"}, true},
		"a trailing dot":                  {[]string{"/usr/bin/rag-rat/.", "mcp"}, true},
		"an empty argv[0]":                {[]string{"", "rag-rat", "mcp"}, true},
		"options before the subcommand":   {[]string{"rag-rat", "--log", "x", "mcp", "--stdio"}, true},
		"arguments as long as the buffer": {slices.Concat([]string{"rag-rat"}, filler(4), []string{"mcp"}), true},
		"arguments longer than it":        {slices.Concat([]string{"rag-rat"}, filler(100), []string{"mcp"}), true},
		"a path longer than it":           {[]string{"/" + strings.Repeat("y", 9000) + "/rag-rat", "mcp"}, true},
		"another name":                    {[]string{"rag-rats", "mcp"}, false},
		"another subcommand":              {[]string{"rag-rat", "index"}, false},
		"a part of the subcommand":        {[]string{"rag-rat", "mcp2"}, false},
		"the name further on":             {[]string{"sh", "rag-rat", "mcp"}, false},
		"a long other":                    {slices.Concat([]string{"other"}, filler(100), []string{"mcp"}), false},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			r := start(t, executable(t), "serves", c.args...)
			if got := slices.Contains(candidates(t, s), r.pid); got != c.want {
				t.Errorf("candidate %t, want %t", got, c.want)
			}
		})
	}
}

func TestCandidates_LeaderExited_IsListed(t *testing.T) {
	t.Parallel()
	r := start(t, executable(t), "leaderless", "rag-rat", "mcp")
	eventually(t, "the leader thread exits", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", r.pid))
		return err == nil && strings.Contains(string(stat), ") Z ")
	})
	if !slices.Contains(candidates(t, scanner(t)), r.pid) {
		t.Error("the server is missing")
	}
}

func TestCandidates_DeletedFile_IsListed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "rag-rat")
	content, err := os.ReadFile(executable(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := testfleet.WriteProgram(path, content); err != nil {
		t.Fatal(err)
	}
	r := start(t, path, "serves", path, "mcp")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(candidates(t, scanner(t)), r.pid) {
		t.Error("the server is missing")
	}
}

// Servers exec themselves without a pause during the scans. For a moment of each exec, the command line is empty.
func TestCandidates_DuringExec_IsListed(t *testing.T) {
	takesLong(t)
	s := scanner(t)
	var servers []*running
	for range 4 {
		servers = append(servers, start(t, executable(t), "execs", "rag-rat", "mcp"))
	}
	for range 300 {
		found := candidates(t, s)
		for _, r := range servers {
			if !slices.Contains(found, r.pid) {
				t.Fatalf("server %d is missing", r.pid)
			}
		}
	}
	for _, r := range servers {
		r.ready(t) // it did exec
	}
}

func TestCandidates_KernelThreadOrZombie_IsNotListed(t *testing.T) {
	t.Parallel()
	zombie, err := os.StartProcess("/bin/true", []string{"rag-rat", "mcp"}, &os.ProcAttr{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = zombie.Wait() })
	// The leader can be a zombie while other threads live, and then it may be a server. Waitid waits for all threads.
	if err := unix.Waitid(unix.P_PID, zombie.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	found := candidates(t, scanner(t))
	if slices.Contains(found, selector.PID(zombie.Pid)) {
		t.Error("a zombie is a candidate")
	}
	if slices.Contains(found, 2) && isKernelThread(t, 2) {
		t.Error("kthreadd is a candidate")
	}
}

func isKernelThread(t *testing.T, pid int) bool {
	t.Helper()
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return err == nil && string(comm) == "kthreadd\n"
}

func TestAll_Processes_ListsNoThread(t *testing.T) {
	t.Parallel()
	r := start(t, executable(t), "serves", "anything")
	pids, err := scanner(t).All(t.Context())
	if err != nil || !slices.IsSorted(pids) {
		t.Fatalf("All = %v, %v, want them ascending", pids, err)
	}
	for _, pid := range []selector.PID{1, selector.PID(os.Getpid()), r.pid} {
		if _, found := slices.BinarySearch(pids, pid); !found {
			t.Errorf("%d is missing", pid)
		}
	}
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", r.pid))
	if err != nil || len(threads) < 2 {
		t.Fatalf("no second thread in %v: %v", threads, err)
	}
	for _, pid := range pids {
		if pid.String() == threads[1].Name() {
			t.Errorf("%d is a thread", pid)
		}
	}
}

func TestScan_ContextEnds_Fails(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := scanner(t)
	for name, call := range map[string]func(context.Context) ([]selector.PID, error){
		"Candidates": s.Candidates, "All": s.All,
	} {
		if pids, err := call(ctx); !errors.Is(err, context.Canceled) || pids != nil {
			t.Errorf("%s = %v, %v, want context canceled", name, pids, err)
		}
	}
}

func TestCandidates_ClosedProc_Fails(t *testing.T) {
	t.Parallel()
	fs, err := procfs.NewFS("/proc")
	if err != nil {
		t.Fatal(err)
	}
	_ = fs.Close()
	if pids, err := fallback.New(fs, pattern()).Candidates(t.Context()); err == nil {
		t.Errorf("Candidates = %v without an error", pids)
	}
}

// The reference is the servers' own walk.
func TestCandidates_OriginalWalk_FindsNoMore(t *testing.T) {
	t.Parallel()
	var servers []*running
	for range 5 {
		servers = append(servers, start(t, executable(t), "serves", "rag-rat", "mcp"))
	}
	original, found := originalWalk(), candidates(t, scanner(t))
	for _, r := range servers {
		if !slices.Contains(original, r.pid) || !slices.Contains(found, r.pid) {
			t.Errorf("server %d: the original walk has %v, the scan %v", r.pid, original, found)
		}
	}
}
