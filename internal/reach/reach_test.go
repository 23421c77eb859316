// SPDX-License-Identifier: MIT

//go:build linux

package reach_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/reach"
	"ebpf-upgrader/selector"
)

const (
	alice = 4001
	bob   = 4002
	team  = 4100
)

// tree is a root directory with directories of two users.
func tree(t *testing.T) (root string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	root, err := os.MkdirTemp("", "reach-")
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(root)) })
	must(t, os.Chmod(root, 0o755))
	for _, d := range []struct {
		path     string
		uid, gid int
		mode     os.FileMode
	}{
		{"home", 0, 0, 0o755},
		{"home/alice", alice, alice, 0o700},
		{"home/alice/bin", alice, alice, 0o755},
		{"home/bob", bob, bob, 0o711},
		{"home/bob/bin", bob, bob, 0o755},
		{"team", 0, team, 0o750},
		{"others", alice, alice, 0o077},
		{"group", bob, team, 0o707},
		{"root", 0, 0, 0o700},
	} {
		full := filepath.Join(root, d.path)
		must(t, os.Mkdir(full, 0o700))
		must(t, os.WriteFile(filepath.Join(full, "tool"), nil, 0o755))
		must(t, os.Chown(full, d.uid, d.gid))
		must(t, os.Chmod(full, d.mode))
	}
	for name, to := range map[string]string{
		"link": "/home/alice/bin/tool", "home/bob/up": "../../team/tool", "dir": "home/bob", "circle": "circle",
		"climb": "/../../home/bob/bin/tool", "slash": "home/bob/bin/", "missing": "/home/none/tool",
	} {
		must(t, os.Symlink(to, filepath.Join(root, name)))
	}
	return root
}

// The kernel resolves each path with the ids of each user.
func TestFollow_EachUserAndPath_MatchesTheKernel(t *testing.T) {
	t.Parallel()
	dir := tree(t)
	root, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { _ = unix.Close(root) })
	users := []selector.Credentials{
		{UID: 0}, {UID: alice, GID: alice}, {UID: bob, GID: bob}, {UID: bob, GID: bob, Groups: []uint32{team, 7}}, {UID: alice, GID: team},
	}
	paths := []string{
		"/", "/tool", "/home/alice/tool", "/home/alice/bin/tool", "/home/alice/bin/../../bob/tool", "/home/bob/bin/tool",
		"/home/bob/nothing", "/home/alice/nothing", "/team/tool", "/others/tool", "/group/tool", "/root/tool", "/root", "/link",
		"/home/bob/up", "/dir/bin/tool", "/dir/up", "/circle", "/climb", "/slash", "/slash/tool", "/missing", "/home/bob/tool/",
		"/home/bob/tool/x", "/../../../home//bob/./bin/tool", "/home/alice/bin/../..", "/home/alice/..",
	}
	for _, user := range users {
		for _, path := range paths {
			want, kernel := asUser(t, user, func() (uint64, error) {
				return inode(unix.Openat2(root, path, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT}))
			})
			got, err := inode(reach.Follow(reach.From{Root: root}, path, []selector.Credentials{user}))
			if _, denied := errors.AsType[*reach.DeniedError](err); denied {
				err = unix.EACCES
			}
			if got != want || !errors.Is(err, kernel) {
				t.Errorf("uid %d, gid %d, %v: %s is inode %d, %v; the kernel says %d, %v", user.UID, user.GID, user.Groups, path, got, err, want, kernel)
			}
		}
	}
}

func TestFollow_DeniedDirectory_IsNamed(t *testing.T) {
	t.Parallel()
	root, err := unix.Open(tree(t), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { _ = unix.Close(root) })
	_, err = reach.Follow(reach.From{Root: root}, "/link", []selector.Credentials{{UID: bob, GID: bob}})
	if err == nil || err.Error() != "uid 4002 may not search /home/alice" {
		t.Errorf("Follow = %v, want the user and the directory", err)
	}
}

func TestFollow_ProcLink_IsNotFollowed(t *testing.T) {
	t.Parallel()
	root, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { _ = unix.Close(root) })
	for _, path := range []string{"/proc/self/exe", "/proc/1/root/bin", "/proc/self/root/bin/sh"} {
		if fd, err := reach.Follow(reach.From{Root: root}, path, nil); !errors.Is(err, unix.ELOOP) {
			t.Errorf("%s: descriptor %d, %v, want ELOOP", path, fd, err)
		}
	}
}

func inode(fd int, err error) (uint64, error) {
	if err != nil {
		return 0, err
	}
	defer func() { _ = unix.Close(fd) }()
	var s unix.Stat_t
	err = unix.Fstat(fd, &s)
	return s.Ino, err
}

// asUser runs f on a thread with the ids of a user, which drops its capabilities for files. The thread ends with f.
func asUser(t *testing.T, c selector.Credentials, f func() (uint64, error)) (ino uint64, err error) {
	t.Helper()
	failed := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		groups := append([]uint32{}, c.Groups...)
		var at unsafe.Pointer
		if len(groups) > 0 {
			at = unsafe.Pointer(&groups[0])
		}
		if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(at), 0); errno != 0 {
			failed <- fmt.Errorf("setgroups: %w", errno)
			return
		}
		_, _, _ = unix.RawSyscall(unix.SYS_SETFSGID, uintptr(c.GID), 0, 0)
		_, _, _ = unix.RawSyscall(unix.SYS_SETFSUID, uintptr(c.UID), 0, 0)
		ino, err = f()
		failed <- nil
	}()
	must(t, <-failed)
	return ino, err
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
