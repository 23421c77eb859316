// SPDX-License-Identifier: MIT

//go:build linux

package procfs_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"ebpf-upgrader/selector"
)

func TestCredentials_ChangedIDs_AreFileSystemIDs(t *testing.T) {
	t.Parallel()
	needRoot(t)
	got := inspect(t, open(t), server(t, program{role: "user"})).Credentials
	if got.UID != 22 || got.GID != 12 || !slices.Equal(got.Groups, []uint32{7, 8}) {
		t.Errorf("credentials %+v, want the effective ones, 22, 12 and groups 7, 8", got)
	}
	if got.Owner.UID != 21 || !got.Changed {
		t.Errorf("credentials %+v, want the real user 21 as the owner, and that they were changed", got)
	}
}

func TestGroups_TooMany_SaysWhy(t *testing.T) {
	t.Parallel()
	needRoot(t)
	fs := open(t)
	for count, why := range map[int]string{1024: "", 1025: "has more than 1024 groups", 65536: "has more than 1024 groups"} {
		p := inspect(t, fs, server(t, program{role: fmt.Sprintf("groups=%d", count), env: []string{variable + "=/bin/sh"}}))
		if p.Unreadable.Why != why || p.Credentials.Owner.UID != 4242 || p.Credentials.UID != 4242 {
			t.Errorf("%d groups: %+v, owner %+v", count, p.Unreadable, p.Credentials.Owner)
		}
		if kept := len(p.Credentials.Groups); kept > 1024 || why == "" && (kept != count || !p.Catches) {
			t.Errorf("%d groups: %d are kept, catches %t", count, kept, p.Catches)
		}
	}
}

// The kernel writes the whole status for any read of it.
func TestUser_ManyGroups_StatusIsNotRead(t *testing.T) {
	needRoot(t)
	fs := open(t)
	many := server(t, program{role: "groups=65536"})
	fastest := time.Hour
	for range 50 {
		start := time.Now()
		if _, owner, err := fs.User(many.pid); err != nil || owner.UID != 4242 {
			t.Fatalf("User = %+v, %v", owner, err)
		}
		fastest = min(fastest, time.Since(start))
	}
	if fastest > time.Millisecond {
		t.Errorf("the owner of a process with 65,536 groups takes %s at least", fastest)
	}
}

// The program is a copy of this binary that root owns.
func TestCredentials_SetuidProgram_AreChanged(t *testing.T) {
	t.Parallel()
	needRoot(t)
	path := publicCopy(t)
	for setuid, mode := range map[bool]os.FileMode{false: 0o755, true: 0o755 | os.ModeSetuid} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		nobody := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534, NoSetGroups: true}}
		got := inspect(t, open(t), server(t, program{path: path, sys: nobody})).Credentials
		if got.Owner.UID != 65534 || got.Changed != setuid || (got.UID == 0) != setuid {
			t.Errorf("setuid %t: %+v", setuid, got)
		}
	}
}

// publicCopy is a copy of this binary that every user may exec. The file system of temporary files may be mounted nosuid, so it
// uses another one.
func publicCopy(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "proc-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "rag-rat")
	install(t, path)
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chmod(path, 0o755)); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestUnreadable_OtherUser_NamesTheFact(t *testing.T) {
	t.Parallel()
	needRoot(t)
	r := server(t, program{env: []string{variable + "=" + executable(t)}})
	p := inspectedBy(t, program{role: fmt.Sprintf("inspect unprivileged=%d", r.pid)})
	want := selector.Unreadable{Fact: selector.FactEnvironment, Why: "permission denied"}
	if p.Unreadable != want || !p.Subcommand || p.VariableSet || p.Image.Known() {
		t.Errorf("without capabilities: %+v, want %+v and no fact after it", p, want)
	}
}

// inspectedBy returns what a process prints that inspects another one.
func inspectedBy(t *testing.T, inspector program) (p selector.Process) {
	t.Helper()
	if line := start(t, inspector).line(t); json.Unmarshal([]byte(line), &p) != nil {
		t.Fatal(line)
	}
	return p
}
