// SPDX-License-Identifier: MIT

//go:build linux

package launch_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ebpf-upgrader/internal/launch"
)

func TestMain(m *testing.M) {
	if args := os.Args[1:]; len(args) > 0 && args[0] == launch.Argument {
		os.Exit(launch.Main(args))
	}
	os.Exit(m.Run())
}

// helper starts a helper for a test.
func helper(t *testing.T) *launch.Helper {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("REQUIRE_BPF") == "1" {
			t.Fatal("needs root")
		}
		t.Skip("needs root: the helper changes the user")
	}
	h, err := launch.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

// server answers initialize, and runs body before.
func server(body string) string {
	return body + "\n" + `case $1 in mcp) read line; echo '{"jsonrpc":"2.0","id":1,"result":{}}';; esac` + "\n"
}

// check checks a shell script as the user 4321.
func check(t *testing.T, h *launch.Helper, script string) launch.Result {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tool.next")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	timeout := time.Minute
	if strings.Contains(script, "sleep") {
		timeout = 5 * time.Second
	}
	result, err := h.Check(t.Context(), launch.Request{
		File: path, Name: "/opt/tool", Subcommand: "mcp", UID: 4321, GID: 4322, Groups: []uint32{4323}, Timeout: timeout,
	})
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func TestCheck_GoodServer_Passes(t *testing.T) {
	if r := check(t, helper(t), server("")); r != (launch.Result{}) {
		t.Errorf("%+v", r)
	}
}

func TestCheck_BadServer_IsNamedWithOutput(t *testing.T) {
	h := helper(t)
	for name, c := range map[string]struct{ script, problem, output string }{
		"version fails":  {"echo bad library >&2; exit 127", "--version ended with exit code 127", "bad library"},
		"crashes":        {server(`case $1 in mcp) ulimit -c 0; kill -SEGV $$; exit 139;; esac`), "exit code 139", ""},
		"exits with 0":   {`case $1 in mcp) echo migrated; exit 0;; esac`, "did not answer initialize", "migrated"},
		"answers error":  {`case $1 in mcp) read line; echo '{"id":1,"error":{"code":-1}}';; esac`, "with an error", `"code":-1`},
		"hangs":          {`case $1 in mcp) sleep 1000;; esac`, "did not end in time", ""},
		"version hangs":  {"echo before; sleep 1000", "--version did not end in time", "before"},
		"endless output": {`case $1 in mcp) yes;; esac`, "did not answer initialize", "y\ny"},
	} {
		t.Run(name, func(t *testing.T) {
			r := check(t, h, c.script)
			if !strings.Contains(r.Problem, c.problem) || !strings.Contains(r.Output, c.output) {
				t.Errorf("%+v, want %q with output %q", r, c.problem, c.output)
			}
			if len(r.Output) > 2<<10 {
				t.Errorf("%d bytes of output", len(r.Output))
			}
		})
	}
	if r := check(t, h, server("")); r.Problem != "" {
		t.Errorf("the helper does not go on: %+v", r)
	}
}

// TestCheck_Cage_HoldsProgram lets the program say what it can do in the cage.
func TestCheck_Cage_HoldsProgram(t *testing.T) {
	outside := t.TempDir()
	if err := os.Chmod(outside, 0o777); err != nil {
		t.Fatal(err)
	}
	h := helper(t)
	for name, c := range map[string]struct{ command, want string }{
		"user":           {"id -u; id -g; id -G", "4321\n4322\n4322 4323"},
		"privileges":     {"grep -E 'NoNewPrivs|CapEff|CapPrm' /proc/self/status | tr -d '\t '", "CapPrm:0000000000000000\nCapEff:0000000000000000\nNoNewPrivs:1"},
		"network":        {"tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '; cat /proc/net/route | wc -l", "lo\n0"},
		"processes":      {"echo $$; ls /proc | grep -c '^[0-9]'", "1\n"},
		"files":          {"touch " + outside + "/x /var/tmp/x 2>/dev/null || echo read-only", "read-only"},
		"repository":     {"pwd; cat .git/HEAD; touch x && echo writable", "/tmp/repository\nref: refs/heads/main\nwritable"},
		"memory":         {"dd if=/dev/zero of=/dev/null bs=700M count=1 2>/dev/null || echo limited", "limited"},
		"descriptors":    {"ulimit -n; ulimit -t; ulimit -c", "256\n30\n0"},
		"environment":    {"echo $HOME $RAG_RAT_DATA_DIR; test -z \"$SECRET\" && echo clean", "/tmp/home /tmp/data/rag-rat\nclean"},
		"out of memory":  {"cat /proc/self/oom_score_adj", "1000"},
		"escape by root": {"su root -c id 2>/dev/null || echo refused", "refused"},
		"mounts":         {"mount -o remount,rw / 2>/dev/null || echo refused", "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("SECRET", "1")
			r := check(t, h, c.command+"; exit 1")
			if !strings.HasPrefix(r.Output, strings.TrimSpace(c.want)) {
				t.Errorf("%+v, want output %q", r, c.want)
			}
		})
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
		t.Errorf("%v (%v) was written", entries, err)
	}
}

func TestCheck_FileOfUser_IsNotRun(t *testing.T) {
	h := helper(t)
	path := filepath.Join(t.TempDir(), "tool.next")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+server("")), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, request := range map[string]launch.Request{
		"root":      {File: path, Name: "tool", Subcommand: "mcp"},
		"user file": {File: "/proc/self/exe", Name: "tool", Subcommand: "mcp", UID: 4321},
	} {
		if r, err := h.Check(t.Context(), request); err != nil || r.Problem == "" {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	if err := os.Chown(path, 4321, 0); err != nil {
		t.Fatal(err)
	}
	if r, err := h.Check(t.Context(), launch.Request{File: path, Name: "tool", Subcommand: "mcp", UID: 4321}); err != nil || !strings.Contains(r.Problem, "belongs to uid 4321") {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestHelper_ServiceEnds_EndsWithIt: also what runs in the cage ends.
func TestHelper_ServiceEnds_EndsWithIt(t *testing.T) {
	h := helper(t)
	path := filepath.Join(t.TempDir(), "tool.next")
	if err := os.WriteFile(path, []byte("#!/bin/sh\nsleep 1000\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	go func() { // the answer never comes
		_, _ = h.Check(t.Context(), launch.Request{File: path, Name: "tool", Subcommand: "mcp", UID: 4321, Timeout: time.Hour})
	}()
	for deadline := time.Now().Add(time.Minute); processes(t) == 0; {
		if time.Now().After(deadline) {
			t.Fatal("nothing runs in the cage")
		}
		time.Sleep(10 * time.Millisecond) // polled
	}
	h.Close()
	for deadline := time.Now().Add(time.Minute); processes(t) > 0; {
		if time.Now().After(deadline) {
			t.Fatal("it lives on in the cage")
		}
		time.Sleep(10 * time.Millisecond) // polled
	}
	if _, err := h.Check(t.Context(), launch.Request{File: path, Name: "tool", UID: 4321}); err == nil {
		t.Error("an ended helper answers")
	}
}

// processes counts the processes of the user 4321.
func processes(t *testing.T) (n int) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range all {
		_, gone := os.Readlink(dir + "/exe") // of a zombie, too
		if info, err := os.Stat(dir); err == nil && gone == nil && info.Sys().(*syscall.Stat_t).Uid == 4321 {
			n++
		}
	}
	return n
}
