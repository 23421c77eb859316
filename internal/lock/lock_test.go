// SPDX-License-Identifier: MIT

//go:build linux

package lock_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/lock"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func refused(t *testing.T, dir, path string, pid int) {
	t.Helper()
	_, err := lock.Acquire(dir, path, "mine")
	held, ok := errors.AsType[*lock.HeldError](err)
	if !ok || held.PID != pid || held.Note != "socket of the other\n\"one\"" {
		t.Fatalf("Acquire(%q) gave %#v; want that process %d holds it", path, err, pid)
	}
	if want := fmt.Sprintf("lock %q: held by process %d", path, pid); err.Error() != want {
		t.Errorf("Acquire said %q, want %q", err, want)
	}
}

func empty(t *testing.T, dir string) {
	t.Helper()
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("%v, %v are left in the directory", entries, err)
	}
}

func TestAcquire_Held_NamesHolder(t *testing.T) {
	dir, path := filepath.Join(t.TempDir(), "run", "locks"), filepath.Join(t.TempDir(), "not-there-yet")
	c := holder(t, dir, path)
	refused(t, dir, path, c.Process.Pid)
	refused(t, dir, path, c.Process.Pid)
	other, err := lock.Acquire(dir, path+"2", "")
	must(t, err)
	must(t, other.Release())

	must(t, c.Process.Kill())
	_ = c.Wait()
	l, err := lock.Acquire(dir, path, "")
	must(t, err)
	must(t, l.Release())
	must(t, l.Release())
	empty(t, dir)
}

func TestAcquire_HolderReplaced_NamesNewHolder(t *testing.T) {
	dir, path := t.TempDir(), "/nowhere/binary"
	must(t, os.Chmod(dir, 0o700))
	first := holder(t, dir, path)
	must(t, first.Process.Kill())
	_ = first.Wait()
	second := holder(t, dir, path) // finds the file of the first
	refused(t, dir, path, second.Process.Pid)
}

func TestAcquire_PathsToOneFile_ShareLock(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	dir := filepath.Join(root, "locks")
	must(t, os.MkdirAll(filepath.Join(root, "opt"), 0o755))
	file, link := filepath.Join(root, "opt", "binary-1"), filepath.Join(root, "binary")
	must(t, os.WriteFile(file, nil, 0o755))
	must(t, os.Symlink("opt", filepath.Join(root, "dir")))
	must(t, os.Symlink("opt/binary-1", link))
	must(t, os.Symlink("binary", filepath.Join(root, "link-to-link")))
	ways := []string{file, link, filepath.Join(root, "dir", "binary-1"), filepath.Join(root, "link-to-link")}
	for _, way := range ways {
		c := holder(t, dir, way)
		for _, other := range ways {
			refused(t, dir, other, c.Process.Pid)
		}
		must(t, c.Process.Kill())
		_ = c.Wait()
	}

	// An install through a link turns the link. The lock stays held.
	c := holder(t, dir, link)
	must(t, os.WriteFile(file+"2", nil, 0o755))
	must(t, os.Remove(link))
	must(t, os.Symlink(file+"2", link))
	refused(t, dir, link, c.Process.Pid)
}

func TestAcquire_DirectoryOfOthers_Fails(t *testing.T) {
	for _, mode := range []os.FileMode{0o777, 0o777 | os.ModeSticky, 0o770, 0o702} {
		dir := t.TempDir()
		must(t, os.Chmod(dir, mode))
		if l, err := lock.Acquire(dir, "/nowhere/binary", ""); err == nil || !strings.Contains(err.Error(), dir) {
			t.Errorf("mode %v gave %v, %v", mode, l, err)
		}
	}
	if os.Geteuid() == 0 {
		dir := t.TempDir()
		must(t, os.Chown(dir, 65534, 65534))
		if l, err := lock.Acquire(dir, "/nowhere/binary", ""); err == nil || !strings.Contains(err.Error(), "65534") {
			t.Errorf("a directory of uid 65534 gave %v, %v", l, err)
		}
	}
}

func TestRelease_FileRemoved_LeavesNextFile(t *testing.T) {
	dir, path := filepath.Join(t.TempDir(), "locks"), "/nowhere/binary"
	mine, err := lock.Acquire(dir, path, "")
	must(t, err)
	entries, err := filepath.Glob(filepath.Join(dir, "install-*"))
	must(t, err)
	must(t, os.Remove(entries[0])) // by another process, which should not
	c := holder(t, dir, path)
	must(t, mine.Release())
	refused(t, dir, path, c.Process.Pid)
}

func TestAcquireHost_ExcludesInstalls(t *testing.T) {
	dir, path := filepath.Join(t.TempDir(), "locks"), "/nowhere/binary"
	host := holder(t, dir, wholeHost)
	refused(t, dir, path, host.Process.Pid)
	_, err := lock.AcquireHost(dir, "mine")
	if held, ok := errors.AsType[*lock.HeldError](err); !ok || held.PID != host.Process.Pid {
		t.Errorf("a second lock on the host gave %v, want that process %d holds it", err, host.Process.Pid)
	}
	must(t, host.Process.Kill())
	_ = host.Wait()
	one := holder(t, dir, path)
	two, err := lock.AcquireAll(dir, []string{path + "2", path + "3", path + "2"}, "")
	must(t, err)
	must(t, two.Release())
	_, err = lock.AcquireHost(dir, "mine")
	held, ok := errors.AsType[*lock.HeldError](err)
	if !ok || held.PID != one.Process.Pid || held.Note != "socket of the other\n\"one\"" {
		t.Errorf("the lock on the host beside one on an install gave %#v, want that process %d holds it", err, one.Process.Pid)
	}
	must(t, one.Process.Kill())
	_ = one.Wait()
	all, err := lock.AcquireHost(dir, "")
	must(t, err)
	must(t, all.Release())
	must(t, os.RemoveAll(dir))
}

func TestAcquireAll_OneHeld_LocksNone(t *testing.T) {
	dir, path := filepath.Join(t.TempDir(), "locks"), "/nowhere/binary"
	c := holder(t, dir, path+"2")
	_, err := lock.AcquireAll(dir, []string{path + "1", path + "2"}, "")
	if held, ok := errors.AsType[*lock.HeldError](err); !ok || held.PID != c.Process.Pid {
		t.Errorf("with one of two held: %v, want that process %d holds it", err, c.Process.Pid)
	}
	l, err := lock.Acquire(dir, path+"1", "")
	must(t, err)
	must(t, l.Release())
}

// TestLock_Directory_IsLockedForCleaners as systemd-tmpfiles tries it.
func TestLock_Directory_IsLockedForCleaners(t *testing.T) {
	path := filepath.Join(t.TempDir(), "locks")
	l, err := lock.Acquire(path, "/nowhere/binary", "")
	must(t, err)
	dir, err := os.Open(path)
	must(t, err)
	defer func() { _ = dir.Close() }()
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("a cleaner's lock gave %v, want that it is held", err)
	}
	must(t, l.Release())
	must(t, unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB))
}

func TestAcquire_Contended_HasOneHolder(t *testing.T) {
	dir, path := filepath.Join(t.TempDir(), "locks"), "/nowhere/binary"
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			if i%5 != 0 {
				if err := contend(dir, path); err != nil {
					t.Error(err)
				}
			} else if out, err := play(t, "contend", dir, path).CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	all.Wait()
	empty(t, dir)
}
