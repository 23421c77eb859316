// SPDX-License-Identifier: MIT

//go:build linux

package testfleet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// Asked is the name of the one file in what [MountAsking] mounts.
const Asked = "asked"

// MountAsking mounts a file system over the empty folder dir with one file. Whoever looks for it waits until asked
// has returned, each time anew: nothing is kept in the kernel's cache. The caller must call release, which waits for
// asked, too. It needs root, and FUSE in the kernel.
func MountAsking(dir string, asked func()) (release func() error, err error) {
	fd, err := mountFUSE(dir)
	if err != nil {
		return nil, err
	}
	return serveFUSE(dir, oneFile{fd: fd, name: Asked, size: 1 << 20, asked: asked}), nil
}

// Leading is the name of the one file in what [MountLeading] mounts.
const Leading = "leading"

// MountLeading mounts a file system over the empty folder dir with one symbolic link, to a path elsewhere. Whoever
// looks for it waits for some time, each time anew. The caller must call release. It needs root, and FUSE in the
// kernel.
func MountLeading(dir, to string, takes time.Duration) (release func() error, err error) {
	fd, err := mountFUSE(dir)
	if err != nil {
		return nil, err
	}
	return serveFUSE(dir, oneFile{fd: fd, name: Leading, to: to, asked: func() { time.Sleep(takes) }}), nil
}

// Unpolled is the name of the one file in what [MountUnpolled] mounts.
const Unpolled = "unpolled"

// MountUnpolled mounts a file system over the empty folder dir with one file, a script that can be seen, opened and
// read: who asks whether it can be read, by poll or epoll, waits until release is called, which the caller must do.
// [os.Open] and [os.ReadFile] do ask. It needs root, and FUSE in the kernel.
func MountUnpolled(dir string) (release func() error, err error) {
	fd, err := mountFUSE(dir)
	if err != nil {
		return nil, err
	}
	script := []byte("#!/bin/sh\n")
	return serveFUSE(dir, oneFile{fd: fd, name: Unpolled, size: uint64(len(script)), valid: alwaysValid, content: script, unpolled: true}), nil
}

// oneFile answers for a file system with one file.
type oneFile struct {
	fd   int
	name string
	size uint64
	// to is where it leads, if it is a symbolic link.
	to string
	// asked is called before a look-up of the file is answered, if it is not nil.
	asked func()
	// valid is how long, in s, the kernel need not ask again.
	valid uint64
	// content is what is read. Where there is none, slow is how long a read takes, which fails then; 0 is for ever.
	content []byte
	slow    time.Duration
	// unpolled leaves it open whether it can be read.
	unpolled bool
}

// alwaysValid is as good as for ever, in s.
const alwaysValid = 1 << 30

// serveFUSE answers for what is mounted at dir until release is called.
func serveFUSE(dir string, o oneFile) (release func() error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		o.serve()
	}()
	return func() error {
		err := unix.Unmount(dir, unix.MNT_DETACH|unix.MNT_FORCE) // MNT_FORCE ends what waits
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

	// fuseKeepCache keeps a second open from waiting for a page that the first reads.
	fuseKeepCache = 2
)

// fuseAttr is struct fuse_attr.
type fuseAttr struct {
	Ino, Size, Blocks, Atime, Mtime, Ctime                              uint64
	Atimensec, Mtimensec, Ctimensec, Mode, Nlink, UID, GID, Rdev, Block uint32
	Flags                                                               uint32
}

// fuseHeader is struct fuse_in_header, as far as it is used.
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
		case fuseForget: // has no answer
		case fuseRead:
			o.read(h)
		case fusePoll:
			if !o.unpolled { // there is no such request, after which the kernel asks no more
				replyFUSE(o.fd, h.unique, unix.ENOSYS, nil)
			}
		default:
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

// answer is that to a request that may name a file.
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
		if o.asked != nil {
			o.asked()
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
		_ = binary.Write(&body, binary.NativeEndian, part) // a Buffer takes everything
	}
	for _, part := range []any{uint32(16 + body.Len()), -int32(failure), unique} {
		_ = binary.Write(&whole, binary.NativeEndian, part)
	}
	_, _ = unix.Write(fd, append(whole.Bytes(), body.Bytes()...))
}
