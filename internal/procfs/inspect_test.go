// SPDX-License-Identifier: MIT

//go:build linux

package procfs_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/procfs"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
)

func TestInspect_ArmedServer_ReadsEveryFact(t *testing.T) {
	t.Parallel()
	r := server(t, program{env: []string{variable + "=" + executable(t)}})
	p := inspect(t, open(t), r)
	self := imageOf(t, executable(t))
	if p.PID != r.pid || p.StartTime == 0 || p.Age <= 0 || p.Age > time.Minute || p.Forked {
		t.Errorf("identity %+v, age %s, forked %t", p.Identity, p.Age, p.Forked)
	}
	if !p.Named || !p.Subcommand || !slices.Equal(p.Args, []string{"rag-rat", "mcp"}) {
		t.Errorf("arguments %q, named %t, subcommand %t", p.Args, p.Named, p.Subcommand)
	}
	if !p.VariableSet || p.Variable != executable(t) || p.Target.Image != self || p.TargetProblem != "" {
		t.Errorf("variable %q leads to %s (%s), want %s", p.Variable, p.Target.Image, p.TargetProblem, self)
	}
	if p.Image != self || !p.Catches || p.Unreadable != (selector.Unreadable{}) {
		t.Errorf("image %s, want %s; catches %t; unreadable %+v", p.Image, self, p.Catches, p.Unreadable)
	}
	if p.Credentials.UID != uint32(os.Geteuid()) || p.Credentials.GID != uint32(os.Getegid()) {
		t.Errorf("credentials %+v, want those of this process", p.Credentials)
	}
}

func TestInspect_OtherArguments_StopsReading(t *testing.T) {
	t.Parallel()
	fs := open(t)
	for _, args := range [][]string{{"other", "mcp"}, {"rag-rat", "index"}} {
		r := server(t, program{args: args, env: []string{variable + "=/x"}})
		p := inspect(t, fs, r)
		if p.Subcommand || p.VariableSet || p.Image.Known() || p.Unreadable.Fact != "" {
			t.Errorf("%q: read on: %+v", args, p)
		}
		if !slices.Equal(p.Args, args) || p.Credentials.UID != uint32(os.Geteuid()) {
			t.Errorf("%q: arguments %q of uid %d", args, p.Args, p.Credentials.UID)
		}
	}
}

func TestInspect_NoHandler_IsReported(t *testing.T) {
	t.Parallel()
	if p := inspect(t, open(t), server(t, program{role: "deaf"})); p.Catches {
		t.Error("a process with SIG_DFL for SIGUSR1 is reported with a handler")
	}
}

func TestInspect_LeaderExited_ReadsOtherThread(t *testing.T) {
	t.Parallel()
	fs := open(t)
	r := server(t, program{role: "leaderless", env: []string{variable + "=" + executable(t)}})
	waitForLeader(t, r)
	p := inspect(t, fs, r)
	if !p.Named || !p.Subcommand || !p.VariableSet || !p.Target.Known() || !p.Catches ||
		p.Image != imageOf(t, executable(t)) || p.PID != r.pid || p.Unreadable.Fact != "" {
		t.Errorf("facts are missing: %+v", p)
	}
	if is, err := fs.MayBeServer(r.pid, query().Pattern, make([]byte, 64)); !is || err != nil {
		t.Errorf("MayBeServer = %t, %v for a process without a leader", is, err)
	}
}

func waitForLeader(t *testing.T, r *running) {
	t.Helper()
	eventually(t, "the leader thread exits", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", r.pid))
		return err == nil && strings.Contains(string(stat), ") Z ")
	})
}

func TestInspect_Zombie_IsGone(t *testing.T) {
	t.Parallel()
	fs := open(t)
	r := server(t, program{})
	_ = r.in.Close()
	if err := unix.Waitid(unix.P_PID, int(r.pid), nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", r.pid)); err != nil {
		t.Fatalf("the process is not a zombie: %v", err)
	}
	if p, err := fs.Inspect(r.pid, query()); !errors.Is(err, procfs.ErrGone) {
		t.Errorf("Inspect = %+v, %v, want ErrGone", p, err)
	}
	if is, _ := fs.MayBeServer(r.pid, query().Pattern, make([]byte, 64)); is {
		t.Error("MayBeServer = true for a zombie")
	}
	if id, _, err := fs.User(r.pid); !errors.Is(err, procfs.ErrGone) {
		t.Errorf("User = %+v, %v for a zombie", id, err)
	}
}

func TestInspect_ForkWithoutExec_IsReported(t *testing.T) {
	t.Parallel()
	fs := open(t)
	parent, child := startFork(t, "")
	p, err := fs.Inspect(child, query())
	if err != nil || !p.Forked || !p.Subcommand || p.MidExec {
		t.Errorf("Inspect of the child = %+v, %v, want a fork with its parent's arguments", p, err)
	}
	if inspect(t, fs, parent).Forked {
		t.Error("its parent, which has exec'd, is reported as a fork")
	}
}

// Whatever its age, such a fork has the handlers of its parent until the exec goes on, and the signal would kill it then.
func TestForkInExec_Inspected_IsMidExec(t *testing.T) {
	t.Parallel()
	needRoot(t)
	fs := open(t)
	_, child := startFork(t, mounted(t, testfleet.MountSilent)+"/git")
	eventually(t, "a fork is reported as inside an exec", func() bool {
		p, err := fs.Inspect(child, query())
		return err == nil && p.Forked && p.MidExec
	})
}

// startFork starts a server that names another file than it runs, and a fork of it.
func startFork(t *testing.T, argument string) (parent *running, child selector.PID) {
	t.Helper()
	parent = start(t, program{role: "fork=" + argument, env: []string{variable + "=/bin/sh"}})
	pid, err := strconv.Atoi(parent.line(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		_, _ = syscall.Wait4(pid, nil, 0, nil)
	})
	return parent, selector.PID(pid)
}

func TestCmdline_LongerThanBuffer_IsMatchedWhole(t *testing.T) {
	t.Parallel()
	fs := open(t)
	for _, length := range []int{4 << 10, 16 << 10, 100 << 10, 600 << 10} {
		args := append([]string{"rag-rat"}, slices.Repeat([]string{strings.Repeat("x", 1023)}, length>>10)...)
		p := inspect(t, fs, server(t, program{args: append(args, "mcp")}))
		if !p.Named || !p.Subcommand {
			t.Errorf("%d bytes of arguments: named %t, subcommand %t", length, p.Named, p.Subcommand)
		}
		if kept := len(strings.Join(p.Args, " ")); kept > 4<<10 {
			t.Errorf("%d bytes of arguments: %d were kept", length, kept)
		}
	}
}

// An argument begins with the subcommand where the first read ends.
func TestCmdline_SubcommandCutByBuffer_IsNoMatch(t *testing.T) {
	t.Parallel()
	const buffer = 16 << 10
	filler := strings.Repeat("x", buffer-len("rag-rat\x00")-len("\x00mcp"))
	p := inspect(t, open(t), server(t, program{args: []string{"rag-rat", filler, "mcpx"}}))
	if !p.Named || p.Subcommand {
		t.Errorf("named %t, subcommand %t, want the name only", p.Named, p.Subcommand)
	}
}

func TestEnviron_AnyContent_IsReadAsByGetenv(t *testing.T) {
	t.Parallel()
	fs := open(t)
	long := "FILLER=" + strings.Repeat("x", 100<<10)
	for name, c := range map[string]struct {
		env   []string
		value string
		set   bool
	}{
		"not set":                  {nil, "", false},
		"empty":                    {[]string{variable + "="}, "", true},
		"the first entry counts":   {[]string{variable + "=/a", variable + "=/b"}, "/a", true},
		"a longer name":            {[]string{variable + "_2=/b", "X" + variable + "=/c"}, "", false},
		"inside another value":     {[]string{"X=" + variable + "=/b"}, "", false},
		"behind a long entry":      {[]string{long, variable + "=/a"}, "/a", true},
		"a value with equal signs": {[]string{variable + "=/a=b="}, "/a=b=", true},
	} {
		p := inspect(t, fs, server(t, program{env: c.env}))
		if p.Variable != c.value || p.VariableSet != c.set {
			t.Errorf("%s: %q, set %t, want %q, %t", name, p.Variable, p.VariableSet, c.value, c.set)
		}
	}
}

func TestInspect_NewInstall_KeepsOldImage(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "rag-rat")
	install(t, path)
	old := imageOf(t, path)
	r := server(t, program{path: path, env: []string{variable + "=" + path}})
	install(t, path)
	p := inspect(t, open(t), r)
	if p.Image != old || p.Target.Image != imageOf(t, path) || p.Target.Image == old {
		t.Errorf("image %s, target %s, want %s and %s", p.Image, p.Target.Image, old, imageOf(t, path))
	}
}

// install puts a copy of this binary at path by rename.
func install(t *testing.T, path string) {
	t.Helper()
	content, err := os.ReadFile(executable(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := testfleet.WriteProgram(path+".new", content); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func liveShortly(t *testing.T, fs *procfs.FS) {
	p, err := os.StartProcess("/bin/sh", []string{"rag-rat", "-c", ":", "mcp"},
		&os.ProcAttr{Env: []string{variable + "=/bin/sh"}})
	if err != nil {
		t.Error(err)
		return
	}
	// StartProcess returns in the middle of the exec, before there are arguments.
	for matched := false; ; {
		got, err := fs.Inspect(selector.PID(p.Pid), query())
		if errors.Is(err, procfs.ErrGone) {
			break
		}
		if got.Unreadable.Fact != "" && os.Geteuid() != 0 {
			continue // refused without root while the process replaces or releases its memory
		}
		if err != nil || got.Unreadable.Fact != "" || got.StartTime == 0 || matched && !whole(got) {
			t.Errorf("Inspect = %+v, %v, after its arguments were seen: %t", got, err, matched)
			break
		}
		matched = got.Subcommand
	}
	_, _ = p.Wait()
}

func whole(p selector.Process) bool { return p.Subcommand && p.Image.Known() }

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func BenchmarkInspect(b *testing.B) {
	fs := open(b)
	r := server(b, program{env: []string{variable + "=" + executable(b)}})
	b.ReportAllocs()
	for b.Loop() {
		if p := inspect(b, fs, r); !p.Catches {
			b.Fatalf("not read to the end: %+v", p)
		}
	}
}

func BenchmarkUser(b *testing.B) {
	fs := open(b)
	for b.Loop() {
		if _, _, err := fs.User(selector.PID(os.Getpid())); err != nil {
			b.Fatal(err)
		}
	}
}
