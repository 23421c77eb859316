// SPDX-License-Identifier: MIT

//go:build linux

package procfs_test

import (
	"io"
	"testing"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

// An exec of the same program with the same arguments counts, too.
func TestUnchanged_ExecOrExit_IsFalse(t *testing.T) {
	t.Parallel()
	fs := open(t)
	for role, says := range map[string]string{"exec other": "other", "exec again": "ready"} {
		r := server(t, program{role: role, env: []string{variable + "=" + executable(t)}})
		before := inspect(t, fs, r)
		for range 2 {
			if !fs.Unchanged(before) {
				t.Errorf("%s: Unchanged = false before a change: %+v", role, before)
			}
		}
		if _, err := io.WriteString(r.in, "go\n"); err != nil {
			t.Fatal(err)
		}
		if line := r.line(t); line != says {
			t.Fatalf("%s: printed %q, want %q", role, line, says)
		}
		after := inspect(t, fs, r)
		if fs.Unchanged(before) || !fs.Unchanged(after) || before.Identity != after.Identity {
			t.Errorf("%s: after the exec, Unchanged(%+v) = true, or Unchanged(%+v) = false", role, before, after)
		}
		if err := r.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := unix.Waitid(unix.P_PID, int(r.pid), nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
			t.Fatal(err)
		}
		if fs.Unchanged(after) {
			t.Errorf("%s: a zombie is unchanged", role)
		}
		_, _ = r.Wait()
		if fs.Unchanged(after) {
			t.Errorf("%s: a reaped process is unchanged", role)
		}
	}
}

// The process changes its root, and does not exec.
func TestChange_OtherView_IsDetected(t *testing.T) {
	t.Parallel()
	needRoot(t)
	fs := open(t)
	r := server(t, program{role: "chroot later", env: []string{variable + "=" + executable(t)}})
	before := inspect(t, fs, r)
	if !fs.Unchanged(before) {
		t.Errorf("Unchanged = false before a change: %+v", before)
	}
	if _, err := io.WriteString(r.in, "go\n"); err != nil {
		t.Fatal(err)
	}
	r.line(t)
	if fs.Unchanged(before) {
		t.Errorf("Unchanged = true in another root: %+v", before)
	}
}

func TestChange_Unknown_IsAssumed(t *testing.T) {
	t.Parallel()
	fs := open(t)
	p := inspect(t, fs, server(t, program{}))
	for what, change := range map[string]func(*selector.Process){
		"another start":   func(p *selector.Process) { p.StartTime++ },
		"another layout":  func(p *selector.Process) { p.Layout.Stack++ },
		"no layout":       func(p *selector.Process) { p.Layout = selector.Layout{} },
		"it was a fork":   func(p *selector.Process) { p.Forked = true },
		"another root":    func(p *selector.Process) { p.View.Root.Ino++ },
		"other mounts":    func(p *selector.Process) { p.View.Mounts++ },
		"read in an exec": func(p *selector.Process) { p.MidExec = true },
	} {
		other := p
		if change(&other); fs.Unchanged(other) {
			t.Errorf("%s: %+v is unchanged", what, other)
		}
	}
	leaderless := server(t, program{role: "leaderless"})
	waitForLeader(t, leaderless)
	q := inspect(t, fs, leaderless)
	if !q.Layout.Known() || q.MidExec || fs.Unchanged(q) {
		t.Errorf("%+v: want the layout of a live thread, and Unchanged = false", q)
	}
}

func BenchmarkUnchanged(b *testing.B) {
	fs := open(b)
	p := inspect(b, fs, server(b, program{}))
	b.ReportAllocs()
	for b.Loop() {
		if !fs.Unchanged(p) {
			b.Fatal("Unchanged = false")
		}
	}
}
