// SPDX-License-Identifier: MIT

//go:build linux

package testfleet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Observed is the name of the one file in the file system of [MountObserved].
const Observed = "observed"

// MountObserved mounts a file system with one file over the empty directory dir. Every lookup of the file waits until
// onLookup has returned, because the kernel caches nothing. The caller must call release, which also waits for
// onLookup. It needs root, and FUSE in the kernel.
func MountObserved(dir string, onLookup func()) (release func() error, err error) {
	fd, err := mountFUSE(dir)
	if err != nil {
		return nil, err
	}
	return serveFUSE(dir, oneFile{fd: fd, name: Observed, size: 1 << 20, onLookup: onLookup}), nil
}

// MountPrivate mounts a file system with the file [Observed] over the empty directory dir, as a user's own mount: without
// allow_other, the kernel lets no other user in, not even root. The caller must call release. It needs root, and FUSE
// in the kernel.
func MountPrivate(dir string, uid int) (release func() error, err error) {
	fd, err := mountFUSEWith(dir, fmt.Sprintf("user_id=%d,group_id=%d", uid, uid))
	if err != nil {
		return nil, err
	}
	return serveFUSE(dir, oneFile{fd: fd, name: Observed, size: 1 << 20}), nil
}

// MountBlock mounts a file system with the file [Observed] over the empty directory dir, on the block device of a path, as
// ntfs-3g does. Each statfs of it waits until release is called. The caller must call release. It needs root, and
// FUSE in the kernel.
func MountBlock(dir, device string) (release func() error, err error) {
	fd, err := openFUSE(dir)
	if err != nil {
		return nil, err
	}
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other,blksize=512", fd)
	if err := unix.Mount(device, dir, "fuseblk", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return nil, errors.Join(os.NewSyscallError("mount", err), unix.Close(fd))
	}
	return serveFUSE(dir, oneFile{fd: fd, name: Observed, size: 1 << 20, valid: alwaysValid, noStatfs: true}), nil
}

// Leading is the name of the one file in the file system of [MountLeading].
const Leading = "leading"

// MountLeading mounts a file system with one symbolic link over the empty directory dir. Every lookup of the link takes
// the given time. The caller must call release. It needs root, and FUSE in the kernel.
func MountLeading(dir, to string, takes time.Duration) (release func() error, err error) {
	fd, err := mountFUSE(dir)
	if err != nil {
		return nil, err
	}
	return serveFUSE(dir, oneFile{fd: fd, name: Leading, to: to, onLookup: func() { time.Sleep(takes) }}), nil
}

// Unpolled is the name of the one file in the file system of [MountUnpolled].
const Unpolled = "unpolled"

// MountUnpolled mounts a file system with one file over the empty directory dir. The file is a script that can be
// looked up, opened and read. A poll or epoll of it, as in [os.Open] and [os.ReadFile], waits until release is called.
// The caller must call release. It needs root, and FUSE in the kernel.
func MountUnpolled(dir string) (release func() error, err error) {
	fd, err := mountFUSE(dir)
	if err != nil {
		return nil, err
	}
	script := []byte("#!/bin/sh\n")
	return serveFUSE(dir, oneFile{fd: fd, name: Unpolled, size: uint64(len(script)), valid: alwaysValid, content: script, unpolled: true}), nil
}

// oneFile serves a file system with one file.
type oneFile struct {
	fd   int
	name string
	size uint64
	// to is the target, if the file is a symbolic link.
	to string
	// onLookup, if not nil, is called before a lookup of the file is answered.
	onLookup func()
	// valid is how long the kernel may cache answers, in seconds.
	valid uint64
	// content is the content. If it is nil, a read fails after slow; 0: it never ends.
	content []byte
	slow    time.Duration
	// unpolled leaves a poll unanswered, noStatfs a statfs.
	unpolled, noStatfs bool
}

// alwaysValid is longer than any test, in seconds.
const alwaysValid = 1 << 30

// serveFUSE serves the file system at dir until release is called.
func serveFUSE(dir string, o oneFile) (release func() error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		o.serve()
	}()
	return func() error {
		err := unix.Unmount(dir, unix.MNT_DETACH|unix.MNT_FORCE) // MNT_FORCE ends waiting requests
		<-done
		return errors.Join(err, unix.Close(o.fd))
	}
}

// The requests of include/uapi/linux/fuse.h that are answered with more than an error.
const (
	fuseLookup   = 1
	fuseForget   = 2
	fuseGetattr  = 3
	fuseReadlink = 5
	fuseOpen     = 14
	fuseRead     = 15
	fuseStatfs   = 17
	fuseRelease  = 18
	fuseFlush    = 25
	fuseInit     = 26
	fusePoll     = 40

	// fuseKeepCache prevents that a second open waits for a page that the first one reads.
	fuseKeepCache = 2
)

// fuseAttr is struct fuse_attr.
type fuseAttr struct {
	Ino, Size, Blocks, Atime, Mtime, Ctime                              uint64
	Atimensec, Mtimensec, Ctimensec, Mode, Nlink, UID, GID, Rdev, Block uint32
	Flags                                                               uint32
}

// fuseHeader has the used fields of struct fuse_in_header.
type fuseHeader struct {
	code         uint32
	unique, node uint64
}

// fuseHeaderSize is the size of struct fuse_in_header.
const fuseHeaderSize = 40

// serve answers every request until the file system is unmounted.
func (o oneFile) serve() {
	request := make([]byte, 1<<17)
	for {
		n, err := unix.Read(o.fd, request)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil || n < fuseHeaderSize:
			return
		}
		h := fuseHeader{
			binary.NativeEndian.Uint32(request[4:]),
			binary.NativeEndian.Uint64(request[8:]), binary.NativeEndian.Uint64(request[16:]),
		}
		switch h.code {
		case fuseForget: // needs no answer
		case fuseRead:
			o.read(h)
		case fusePoll:
			if !o.unpolled { // ENOSYS: the kernel sends no further poll requests
				replyFUSE(o.fd, h.unique, unix.ENOSYS, nil)
			}
		default:
			if o.noStatfs && h.code == fuseStatfs {
				continue
			}
			answer, failure := o.answer(h, string(bytes.TrimRight(request[fuseHeaderSize:n], "\x00")))
			replyFUSE(o.fd, h.unique, failure, answer)
		}
	}
}

func (o oneFile) read(h fuseHeader) {
	switch {
	case o.content != nil:
		replyFUSE(o.fd, h.unique, 0, []any{o.content})
	case o.slow > 0:
		time.AfterFunc(o.slow, func() { replyFUSE(o.fd, h.unique, unix.EIO, nil) })
	}
}

// answer returns the answer to a request that may name a file.
func (o oneFile) answer(h fuseHeader, name string) ([]any, unix.Errno) {
	const root, file = 1, 2
	attrs := map[uint64]fuseAttr{
		root: {Ino: root, Mode: unix.S_IFDIR | 0o755, Nlink: 2},
		file: {Ino: file, Mode: unix.S_IFREG | 0o755, Nlink: 1, Size: o.size, Blocks: (o.size + 511) / 512},
	}
	if o.to != "" {
		attrs[file] = fuseAttr{Ino: file, Mode: unix.S_IFLNK | 0o777, Nlink: 1, Size: uint64(len(o.to))}
	}
	switch h.code {
	case fuseInit:
		return []any{uint32(7), uint32(31), [56]byte{}}, 0
	case fuseLookup:
		if name != o.name {
			return nil, unix.ENOENT
		}
		if o.onLookup != nil {
			o.onLookup()
		}
		return []any{uint64(file), uint64(0), o.valid, o.valid, uint64(0), attrs[file]}, 0
	case fuseGetattr:
		return []any{o.valid, uint64(0), attrs[h.node]}, 0
	case fuseReadlink:
		return []any{[]byte(o.to)}, 0
	case fuseStatfs:
		return []any{[80]byte{}}, 0
	case fuseOpen:
		return []any{uint64(0), uint32(fuseKeepCache), uint32(0)}, 0
	case fuseFlush, fuseRelease:
		return nil, 0
	}
	return nil, unix.ENOSYS
}

func replyFUSE(fd int, unique uint64, failure unix.Errno, answer []any) {
	var body, whole bytes.Buffer
	for _, part := range answer {
		_ = binary.Write(&body, binary.NativeEndian, part) // a Buffer never fails
	}
	for _, part := range []any{uint32(16 + body.Len()), -int32(failure), unique} {
		_ = binary.Write(&whole, binary.NativeEndian, part)
	}
	_, _ = unix.Write(fd, append(whole.Bytes(), body.Bytes()...))
}
