// SPDX-License-Identifier: MIT

//go:build linux

package testfleet

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// MountSilent mounts a file system that never answers over the empty directory dir. Every lookup in it waits until
// release is called. Every user may search it. The caller must call release. It needs root, and FUSE in the kernel.
func MountSilent(dir string) (release func() error, err error) {
	fd, err := mountFUSE(dir)
	if err != nil {
		return nil, err
	}
	return func() error { return releaseFUSE(fd, dir) }, nil
}

// Mute is the name of the one file in the file system of [MountMute].
const Mute = "mute"

// MountMute mounts a file system with one file over the empty directory dir. The file can be opened and mapped. Every
// read of it, also through a mapping, waits until release is called. The caller must call release. It needs root, and
// FUSE in the kernel.
func MountMute(dir string) (release func() error, err error) { return MountSlow(dir, 0) }

// MountSlow does what [MountMute] does, but a read fails after the given time; 0: never.
func MountSlow(dir string, after time.Duration) (release func() error, err error) {
	fd, err := mountFUSE(dir)
	if err != nil {
		return nil, err
	}
	return serveFUSE(dir, oneFile{fd: fd, name: Mute, size: 1 << 20, valid: alwaysValid, slow: after}), nil
}

// SilenceArguments maps a file, such as [Mute], over the second argument of this process, which must be some pages
// long. Every read of the command line then reads the file.
func SilenceArguments(file string) error {
	return silence(file, unsafe.Pointer(unsafe.StringData(os.Args[1])), len(os.Args[1]))
}

// SilenceEnvironment does the same with the first variable of the environment.
func SilenceEnvironment(file string) error {
	last := os.Args[len(os.Args)-1] // the environment follows it in memory
	return silence(file, unsafe.Add(unsafe.Pointer(unsafe.StringData(last)), len(last)+1), 3*os.Getpagesize())
}

// silence maps a file over the whole pages of a memory range.
func silence(file string, at unsafe.Pointer, length int) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	page := uintptr(os.Getpagesize())
	begin, end := (uintptr(at)+page-1)&^(page-1), (uintptr(at)+uintptr(length))&^(page-1)
	if end <= begin {
		return fmt.Errorf("%d bytes hold no page", length)
	}
	_, err = unix.MmapPtr(int(f.Fd()), 0, unsafe.Add(at, begin-uintptr(at)), end-begin, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_FIXED)
	return errors.Join(err, f.Close())
}

func mountFUSE(dir string) (fd int, err error) {
	return mountFUSEWith(dir, "user_id=0,group_id=0,allow_other")
}

// mountFUSEWith makes a root directory that all users may search: where they may not, no look-up ever waits.
func mountFUSEWith(dir, access string) (fd int, err error) {
	fd, err = openFUSE(dir)
	if err != nil {
		return -1, err
	}
	options := fmt.Sprintf("fd=%d,rootmode=40755,%s", fd, access)
	if err := unix.Mount("silent", dir, "fuse", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return -1, errors.Join(os.NewSyscallError("mount", err), unix.Close(fd))
	}
	return fd, nil
}

// openFUSE opens the device, which it makes in dir for a moment.
func openFUSE(dir string) (fd int, err error) {
	device := filepath.Join(dir, "fuse")
	if err := unix.Mknod(device, unix.S_IFCHR|0o600, int(unix.Mkdev(10, 229))); err != nil {
		return -1, os.NewSyscallError("mknod", err)
	}
	fd, err = unix.Open(device, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err = errors.Join(err, os.Remove(device)); err != nil {
		return -1, fmt.Errorf("open the FUSE device: %w", err)
	}
	return fd, nil
}

// releaseFUSE closes the descriptor, which ends all waiting requests, and unmounts.
func releaseFUSE(fd int, dir string) error {
	return errors.Join(unix.Close(fd), unix.Unmount(dir, unix.MNT_DETACH))
}
