// SPDX-License-Identifier: MIT

//go:build linux

package procfs_test

import (
	"io"
	"testing"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

// TestUnchanged_ExecOrExit_IsFalse, be it the same program with the same arguments, or ends.
func TestUnchanged_ExecOrExit_IsFalse(t *testing.T) {
	t.Parallel()
	fs := open(t)
	for role, says := range map[string]string{"exec other": "other", "exec again": "ready"} {
		r := server(t, program{role: role, env: []string{variable + "=" + executable(t)}})
		before := inspect(t, fs, r)
		for range 2 {
			if !fs.Unchanged(before) {
				t.Errorf("%s: it is said to have changed, or to be unknown: %+v", role, before)
			}
		}
		if _, err := io.WriteString(r.in, "go\n"); err != nil {
			t.Fatal(err)
		}
		if line := r.line(t); line != says {
			t.Fatalf("%s: says %q, want %q", role, line, says)
		}
		after := inspect(t, fs, r)
		if fs.Unchanged(before) || !fs.Unchanged(after) || before.Identity != after.Identity {
			t.Errorf("%s: after the exec it is still %+v, or not %+v", role, before, after)
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
			t.Errorf("%s: a process that was reaped is unchanged", role)
		}
	}
}

// TestChange_OtherView_IsDetected although it has not exec'd.
func TestChange_OtherView_IsDetected(t *testing.T) {
	t.Parallel()
	needRoot(t)
	fs := open(t)
	r := server(t, program{role: "chroot later", env: []string{variable + "=" + executable(t)}})
	before := inspect(t, fs, r)
	if !fs.Unchanged(before) {
		t.Errorf("it is said to have changed, or to be unknown: %+v", before)
	}
	if _, err := io.WriteString(r.in, "go\n"); err != nil {
		t.Fatal(err)
	}
	r.line(t)
	if fs.Unchanged(before) {
		t.Errorf("in another root it is still %+v", before)
	}
}

func TestChange_Unknown_IsAssumed(t *testing.T) {
	t.Parallel()
	fs := open(t)
	p := inspect(t, fs, server(t, program{}))
	for what, change := range map[string]func(*selector.Process){
		"another start":   func(p *selector.Process) { p.StartTime++ },
		"another place":   func(p *selector.Process) { p.Layout.Stack++ },
		"no place":        func(p *selector.Process) { p.Layout = selector.Layout{} },
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
		t.Errorf("%+v: want where things stand from a thread that lives, and that it cannot be told by the leader", q)
	}
}

func BenchmarkUnchanged(b *testing.B) {
	fs := open(b)
	p := inspect(b, fs, server(b, program{}))
	b.ReportAllocs()
	for b.Loop() {
		if !fs.Unchanged(p) {
			b.Fatal("it is said to have changed")
		}
	}
}
