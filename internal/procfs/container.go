// SPDX-License-Identifier: MIT

//go:build linux

package procfs

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

// longestName bounds what is kept of a control group's path and of a container's id.
const longestName = 1 << 10

// readContainer finds out what the process runs in. It is shown, and can be selected by; nothing else
// depends on it, so that what cannot be read is left out.
func (r *reader) readContainer() error {
	fd, err := openFile(r.at(), "cgroup")
	if err != nil {
		return gone(err)
	}
	defer func() { _ = unix.Close(fd) }()
	if text, err := read(fd, r.buf, func(b []byte) bool { return len(b) >= bufferSize }); err == nil {
		r.p.Cgroup = cgroupOf(text)
		r.p.Container = containerOf(r.p.Cgroup)
	}
	r.unnamed = r.p.Container == ""
	return nil
}

// readPIDNamespace names a container by its PID namespace, where no runtime did. A process that has one number in
// a proc file system of our PID namespace lives in that, too.
func (r *reader) readPIDNamespace(s status) {
	if !r.unnamed || r.fs.ours && s.pids == 1 {
		return
	}
	if pids, err := namespace(r.at(), "ns/pid"); err == nil && pids != r.fs.pids {
		r.p.Container = fmt.Sprintf("pid:[%d]", pids)
	}
}

// cgroupOf is the path in the hierarchy that runtimes name after the container: that of cgroup v2,
// where it is in use, else the longest, for hierarchies in which nobody put anything show "/".
func cgroupOf(text []byte) string {
	var longest []byte
	for line := range bytes.Lines(text) {
		_, line, _ = bytes.Cut(bytes.TrimSuffix(line, []byte{'\n'}), []byte{':'})
		if _, path, _ := bytes.Cut(line, []byte{':'}); len(path) > len(longest) {
			longest = path
		}
	}
	return string(longest[:min(len(longest), longestName)])
}

// containerOf is the id that a container runtime left in the path of a control group, of the innermost
// container: a name of 64 hexadecimal digits (Docker, Podman, containerd, CRI-O, with the prefixes that
// they give systemd's scopes), or that of an LXC or a systemd-nspawn container.
func containerOf(cgroup string) string {
	parts := strings.Split(cgroup, "/")
	for i := len(parts) - 1; i > 0; i-- {
		part := strings.TrimSuffix(parts[i], ".scope")
		if name, is := strings.CutPrefix(part, "machine-"); is && parts[i-1] == "machine.slice" {
			return name
		}
		if name, is := strings.CutPrefix(part, "lxc.payload."); is || parts[i-1] == "lxc" {
			return name
		}
		if id := part[strings.LastIndexByte(part, '-')+1:]; isID(id) {
			return id
		}
	}
	return ""
}

func isID(s string) bool {
	if len(s) != 64 {
		return false
	}
	return strings.Trim(s, "0123456789abcdef") == ""
}

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
	if maker := fs.maker(fd); maker > 0 {
		return maker
	}
	return s.credentials.Owner
}

// deepestUsers is how deep user namespaces nest: create_user_ns in kernel/user_namespace.c (Linux 6.12)
// refuses more than 32 levels above the first.
const deepestUsers = 33

// maker is who made the outermost user namespace around fd that is not ours; 0 where that is root, or
// cannot be told. It leaves fd open.
func (fs *FS) maker(fd int) uint32 {
	at := fd
	defer func() {
		if at != fd {
			_ = unix.Close(at)
		}
	}()
	for range deepestUsers {
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
	maker, err := unix.IoctlGetUint32(at, unix.NS_GET_OWNER_UID)
	if err != nil {
		return 0
	}
	return maker
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
	if !line.lives() {
		return selector.Identity{}, 0, notFound(pid, ErrGone)
	}
	s, err := r.status()
	if err != nil {
		return selector.Identity{}, 0, notFound(pid, err)
	}
	return selector.Identity{PID: pid, StartTime: line.startTime}, fs.owner(dir, s), nil
}

// errOtherView is for a process that has another root than the one that was asked for.
var errOtherView = errors.New("it sees other files now")

// OpenRoot opens the root directory of a process with O_PATH, if it has that view. The descriptor belongs
// to the caller. It fails with [ErrGone] when the process has ended.
func (fs *FS) OpenRoot(id selector.Identity, v selector.View) (int, error) {
	dir, err := fs.open(id.PID)
	if err != nil {
		return -1, err
	}
	defer func() { _ = unix.Close(dir) }()
	buf := fs.buffers.Get().(*[]byte)
	defer fs.buffers.Put(buf)
	r := reader{fs: fs, dir: dir, buf: *buf}
	defer r.close()
	if err := r.readStat(); err != nil {
		return -1, err
	}
	if r.p.StartTime != id.StartTime {
		return -1, ErrGone
	}
	fd, view, err := openRoot(r.at(), "")
	switch {
	case err != nil:
		return -1, gone(err)
	case view != v:
		_ = unix.Close(fd)
		return -1, errOtherView
	}
	return fd, nil
}
