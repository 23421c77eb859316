// SPDX-License-Identifier: MIT

//go:build linux

package procfs

import (
	"bytes"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

// readEarlyCredentials reads the credentials before the path is resolved with them. readStatus reads them again at the end.
func (r *reader) readEarlyCredentials() error {
	if r.hasEarlyCredentials {
		return nil
	}
	s, err := r.status()
	if err != nil {
		return err
	}
	r.earlyCredentials, r.hasEarlyCredentials = r.credentials(s), true
	return nil
}

// credentials adds the owner to the credentials in a status, and decides whether capabilities count. They do not count in our
// own user namespace: a user other than root has them from a program file. With them counted, a user with access to
// such a program could learn about files of others.
func (r *reader) credentials(s status) selector.Credentials {
	c := s.credentials
	owner, isInOurs := r.fs.owner(r.base(), c.Owner.UID, r.p.Cgroup)
	c.Owner = owner
	if !c.SearchesAny {
		return c
	}
	if isInOurs {
		c.SearchesAny, c.ExecsAny = false, false
		return c
	}
	var failed, alsoFailed error
	c.Users, failed = r.idRanges("uid_map")
	c.InGroups, alsoFailed = r.idRanges("gid_map")
	c.SearchesAny = errors.Join(failed, alsoFailed) == nil // an empty map has no id
	c.ExecsAny = c.ExecsAny && c.SearchesAny
	return c
}

// idRanges parses uid_map or gid_map: the ids outside of the user namespace that are mapped into it. Each line has the first id
// inside, the first outside and the count. There are at most 340 lines (UID_GID_MAP_MAX_EXTENTS in
// include/linux/user_namespace.h, Linux 6.12).
func (r *reader) idRanges(file string) ([]selector.Range, error) {
	text, err := readFile(r.base(), file, r.buf)
	if err != nil {
		return nil, err
	}
	var ranges []selector.Range
	for line := range bytes.Lines(text) {
		var inside uint32
		var outside selector.Range
		if _, err := fmt.Sscan(string(line), &inside, &outside.First, &outside.Count); err != nil {
			return nil, fmt.Errorf("parse %s: %w", file, err)
		}
		ranges = append(ranges, outside)
	}
	return ranges, nil
}

// owner returns the user that a process with a real user id counts for. A process in a user namespace can have any of a range of
// user ids there. It counts for the user that created the outermost user namespace that is not ours. If that is root
// (userns-remap), it counts for its own user id. cgroup is its control group, if that was read already. isInOurs is true in our
// own user namespace, and where the namespace cannot be read.
func (fs *FS) owner(dir int, uid uint32, cgroup string) (owner selector.User, isInOurs bool) {
	if cgroup == "" {
		cgroup = fs.cgroup(dir)
	}
	owner = selector.User{UID: uid, Container: outermostContainer(cgroup)}
	users, err := namespace(dir, "ns/user")
	if err != nil || users == fs.users {
		return owner, true
	}
	fd, err := unix.Openat(dir, "ns/user", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return owner, false
	}
	defer func() { _ = unix.Close(fd) }()
	if creator := fs.namespaceCreator(fd); creator > 0 {
		owner.UID = creator
	}
	return owner, false
}

// namespaceCreator returns the user that created the outermost user namespace around fd that is not ours. It is 0 for root, and
// where it cannot be read. fd stays open. There are 33 levels at most (create_user_ns in kernel/user_namespace.c, Linux 6.12).
func (fs *FS) namespaceCreator(fd int) uint32 {
	parent, err := unix.IoctlRetInt(fd, unix.NS_GET_PARENT)
	if err != nil {
		return 0
	}
	defer func() { _ = unix.Close(parent) }()
	if f, err := statAt(parent, "", unix.AT_EMPTY_PATH); err == nil && f.Ino != fs.users {
		return fs.namespaceCreator(parent)
	}
	creator, err := unix.IoctlGetUint32(fd, unix.NS_GET_OWNER_UID)
	if err != nil {
		return 0
	}
	return creator
}

// User returns the identity of the process with a PID, and the user that the process counts for. It reads no other facts. It
// fails with [ErrGone] when there is no such process.
//
// The status of a process with 65,536 groups takes the kernel 7 ms, so it is not read where the user is known from elsewhere.
func (fs *FS) User(pid selector.PID) (selector.Identity, selector.User, error) {
	dir, err := fs.open(pid)
	if err != nil {
		return selector.Identity{}, selector.User{}, inspectError(pid, err)
	}
	defer func() { _ = unix.Close(dir) }()
	buf := fs.buffers.Get().(*[]byte)
	defer fs.buffers.Put(buf)
	uid, err := realUser(pid, dir, *buf)
	var line stat
	if err == nil { // read last: then uid was not that of the next process with the PID
		line, err = fs.stat(dir, "stat", *buf)
	}
	if err == nil && !line.isAlive() {
		err = ErrGone
	}
	if err != nil {
		return selector.Identity{}, selector.User{}, inspectError(pid, err)
	}
	owner, _ := fs.owner(dir, uid, "")
	return selector.Identity{PID: pid, StartTime: line.startTime}, owner, nil
}

// realUser returns the real user id of the process with the directory dir. A pidfd has it since Linux 6.13. On older kernels
// the owner of the directory is the effective user. Root may be the effective user of a setuid program: its status tells.
func realUser(pid selector.PID, dir int, buf []byte) (uint32, error) {
	if fd, err := unix.PidfdOpen(int(pid), 0); err == nil {
		info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_CREDS}
		err := unix.IoctlPidfdInfo(fd, &info)
		_ = unix.Close(fd)
		if err == nil && info.Mask&unix.PIDFD_INFO_CREDS != 0 {
			return info.Ruid, nil
		}
	}
	if f, err := statAt(dir, "", unix.AT_EMPTY_PATH); err != nil || f.UID != 0 {
		return f.UID, gone(err)
	}
	text, err := readFile(dir, "status", buf)
	if err != nil {
		return 0, err
	}
	s, err := parseStatus(text)
	if errors.Is(err, errTooManyGroups) {
		err = nil
	}
	return s.credentials.Owner.UID, err
}
