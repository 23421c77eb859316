// SPDX-License-Identifier: MIT

//go:build linux

package testfleet

import (
	"bytes"
	"encoding/binary"
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
	done := make(chan struct{})
	go func() {
		defer close(done)
		answerFUSE(fd, after)
	}()
	return func() error {
		err := unix.Unmount(dir, unix.MNT_DETACH|unix.MNT_FORCE) // MNT_FORCE ends what waits
		<-done
		return errors.Join(err, unix.Close(fd))
	}, nil
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

// The requests of include/uapi/linux/fuse.h that are answered with more than an error.
const (
	fuseLookup  = 1
	fuseGetattr = 3
	fuseOpen    = 14
	fuseRead    = 15
	fuseInit    = 26
	fuseForget  = 2
	fuseFlush   = 25
	fuseRelease = 18

	// fuseKeepCache keeps a second open from waiting for a page that the first reads.
	fuseKeepCache = 2
)

// fuseAttr is struct fuse_attr.
type fuseAttr struct {
	Ino, Size, Blocks, Atime, Mtime, Ctime                              uint64
	Atimensec, Mtimensec, Ctimensec, Mode, Nlink, UID, GID, Rdev, Block uint32
	Flags                                                               uint32
}

// answerFUSE answers every request until the file system is unmounted, and reads after some time; 0 is never.
func answerFUSE(fd int, after time.Duration) {
	const forEver, root, mute = 1 << 30, 1, 2
	attrs := map[uint64]fuseAttr{
		root: {Ino: root, Mode: unix.S_IFDIR | 0o755, Nlink: 2},
		mute: {Ino: mute, Mode: unix.S_IFREG | 0o755, Nlink: 1, Size: 1 << 20, Blocks: 2048},
	}
	request := make([]byte, 1<<17)
	for {
		n, err := unix.Read(fd, request)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil || n < 40: // struct fuse_in_header
			return
		}
		code, unique, node := binary.NativeEndian.Uint32(request[4:]), binary.NativeEndian.Uint64(request[8:]), binary.NativeEndian.Uint64(request[16:])
		var answer []any
		failure := int32(0)
		switch code {
		case fuseRead:
			if after > 0 {
				time.AfterFunc(after, func() { replyFUSE(fd, unique, -int32(unix.EIO), nil) })
			}
			continue
		case fuseForget:
			continue
		case fuseInit:
			answer = []any{uint32(7), uint32(31), [56]byte{}}
		case fuseLookup:
			if string(bytes.TrimRight(request[40:n], "\x00")) != Mute {
				failure = -int32(unix.ENOENT)
				break
			}
			answer = []any{uint64(mute), uint64(0), uint64(forEver), uint64(forEver), uint64(0), attrs[mute]}
		case fuseGetattr:
			answer = []any{uint64(forEver), uint64(0), attrs[node]}
		case fuseOpen:
			answer = []any{uint64(0), uint32(fuseKeepCache), uint32(0)}
		case fuseFlush, fuseRelease:
		default:
			failure = -int32(unix.ENOSYS)
		}
		replyFUSE(fd, unique, failure, answer)
	}
}

func replyFUSE(fd int, unique uint64, failure int32, answer []any) {
	var body, whole bytes.Buffer
	for _, part := range answer {
		_ = binary.Write(&body, binary.NativeEndian, part) // a Buffer takes everything
	}
	for _, part := range []any{uint32(16 + body.Len()), failure, unique} {
		_ = binary.Write(&whole, binary.NativeEndian, part)
	}
	_, _ = unix.Write(fd, append(whole.Bytes(), body.Bytes()...))
}
