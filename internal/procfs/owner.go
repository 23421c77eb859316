// SPDX-License-Identifier: MIT

//go:build linux

package procfs

import (
	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

// owner is the user who accounts for a process. One in a user namespace belongs to whoever made the
// outermost of those that are not ours: within it, he can be any of a range of users. Root makes them
// for others (userns-remap), who are told apart by their numbers.
func (fs *FS) owner(dir int, s status) uint32 {
	users, err := namespace(dir, "ns/user")
	if err != nil || users == fs.users {
		return s.credentials.Owner
	}
	fd, err := unix.Openat(dir, "ns/user", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return s.credentials.Owner
	}
	defer func() { _ = unix.Close(fd) }()
	if namespaceMaker := fs.namespaceMaker(fd); namespaceMaker > 0 {
		return namespaceMaker
	}
	return s.credentials.Owner
}

// deepestUsers is how deep user namespaces nest: create_user_ns in kernel/user_namespace.c (Linux 6.12)
// refuses more than 32 levels above the first.
const maxUserNamespaces = 33

// maker is who made the outermost user namespace around fd that is not ours; 0 where that is root, or
// cannot be told. It leaves fd open.
func (fs *FS) namespaceMaker(fd int) uint32 {
	at := fd
	defer func() {
		if at != fd {
			_ = unix.Close(at)
		}
	}()
	for range maxUserNamespaces {
		parent, err := unix.IoctlRetInt(at, unix.NS_GET_PARENT)
		if err != nil {
			return 0
		}
		if id, err := namespaceOf(parent); err != nil || id == fs.users {
			_ = unix.Close(parent)
			break
		}
		if at != fd {
			_ = unix.Close(at)
		}
		at = parent
	}
	namespaceMaker, err := unix.IoctlGetUint32(at, unix.NS_GET_OWNER_UID)
	if err != nil {
		return 0
	}
	return namespaceMaker
}

// namespaceOf is the inode number of the one that fd leads to.
func namespaceOf(fd int) (uint64, error) {
	f, err := statAt(fd, "", unix.AT_EMPTY_PATH)
	return f.Ino, err
}

// User says which process has a number, and who accounts for it. It reads no more than that, and fails with
// [ErrGone] when there is none.
func (fs *FS) User(pid selector.PID) (selector.Identity, uint32, error) {
	dir, err := fs.open(pid)
	if err != nil {
		return selector.Identity{}, 0, notFound(pid, err)
	}
	defer func() { _ = unix.Close(dir) }()
	buf := fs.buffers.Get().(*[]byte)
	defer fs.buffers.Put(buf)
	r := reader{fs: fs, dir: dir, buf: *buf}
	line, err := fs.stat(dir, "stat", r.buf)
	if err != nil {
		return selector.Identity{}, 0, notFound(pid, err)
	}
	if !line.isAlive() {
		return selector.Identity{}, 0, notFound(pid, ErrGone)
	}
	s, err := r.status()
	if err != nil {
		return selector.Identity{}, 0, notFound(pid, err)
	}
	return selector.Identity{PID: pid, StartTime: line.startTime}, fs.owner(dir, s), nil
}
