// SPDX-License-Identifier: MIT

//go:build linux

package procfs_test

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
)

// loopDevice makes a block device of an empty file.
func loopDevice(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	try := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	node := func(name string, kind uint32, major, minor uint32) *os.File {
		path := filepath.Join(dir, name)
		try(unix.Mknod(path, kind|0o600, int(unix.Mkdev(major, minor))))
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		try(err)
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	content := filepath.Join(dir, "content")
	try(os.WriteFile(content, make([]byte, 1<<20), 0o600))
	file, err := os.OpenFile(content, os.O_RDWR, 0)
	try(err)
	defer func() { _ = file.Close() }()
	free, err := unix.IoctlRetInt(int(node("control", unix.S_IFCHR, 10, 237).Fd()), unix.LOOP_CTL_GET_FREE)
	try(err)
	loop := node("loop", unix.S_IFBLK, 7, uint32(free))
	try(unix.IoctlSetInt(int(loop.Fd()), unix.LOOP_SET_FD, int(file.Fd())))
	t.Cleanup(func() { _ = unix.IoctlSetInt(int(loop.Fd()), unix.LOOP_CLR_FD, 0) })
	return loop.Name()
}

// The kernel has the path cached, and the file system has a block device: still its daemon answers statfs.
func TestBlockFUSE_NoAnswer_EndsInspection(t *testing.T) {
	t.Parallel()
	needRoot(t)
	dir := t.TempDir()
	release, err := testfleet.MountBlock(dir, loopDevice(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = release() })
	path := filepath.Join(dir, testfleet.Observed)
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	p := inspect(t, open(t), server(t, program{env: []string{variable + "=" + path}}))
	if p.Unreadable.Fact != selector.FactTarget || !p.Unreadable.IsTemporary {
		t.Errorf("%+v is unreadable, want the target for now", p.Unreadable)
	}
}
