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

// MountSilent mounts a file system over the empty folder dir that never answers: who looks for a file
// there waits until release is called, which the caller must do. It needs root, and FUSE in the kernel.
func MountSilent(dir string) (release func() error, err error) {
	fd, err := mountFUSE(dir)
	if err != nil {
		return nil, err
	}
	return func() error { return releaseFUSE(fd, dir) }, nil
}

// Mute is the name of the one file in what [MountMute] mounts.
const Mute = "mute"

// MountMute mounts a file system over the empty folder dir with one file, which can be opened and
// mapped: who reads it, from a mapping, too, waits until release is called, which the caller must do. It
// needs root, and FUSE in the kernel.
func MountMute(dir string) (release func() error, err error) { return MountSlow(dir, 0) }

// MountSlow does what [MountMute] does, but a read ends after some time, with an error; 0 is never.
func MountSlow(dir string, after time.Duration) (release func() error, err error) {
	fd, err := mountFUSE(dir)
	if err != nil {
		return nil, err
	}
	return serveFUSE(dir, oneFile{fd: fd, name: Mute, size: 1 << 20, valid: alwaysValid, slow: after}), nil
}

// SilenceArguments puts a mapping of a file, such as [Mute], in the place of the second argument of this
// process, which must be some pages long: who reads the command line reads the file from there on.
func SilenceArguments(file string) error {
	return silence(file, unsafe.Pointer(unsafe.StringData(os.Args[1])), len(os.Args[1]))
}

// SilenceEnvironment does the same with the first variable that this process was started with.
func SilenceEnvironment(file string) error {
	last := os.Args[len(os.Args)-1] // behind which the kernel put the environment, and Go has left it
	return silence(file, unsafe.Add(unsafe.Pointer(unsafe.StringData(last)), len(last)+1), 3*os.Getpagesize())
}

// silence maps a file over the whole pages of a part of memory.
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
	device := filepath.Join(dir, "fuse")
	if err := unix.Mknod(device, unix.S_IFCHR|0o600, int(unix.Mkdev(10, 229))); err != nil {
		return -1, os.NewSyscallError("mknod", err)
	}
	fd, err = unix.Open(device, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err = errors.Join(err, os.Remove(device)); err != nil {
		return -1, fmt.Errorf("open the FUSE device: %w", err)
	}
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fd)
	if err := unix.Mount("silent", dir, "fuse", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return -1, errors.Join(os.NewSyscallError("mount", err), unix.Close(fd))
	}
	return fd, nil
}

// releaseFUSE closes, which ends the waiting, and unmounts.
func releaseFUSE(fd int, dir string) error {
	return errors.Join(unix.Close(fd), unix.Unmount(dir, unix.MNT_DETACH))
}
