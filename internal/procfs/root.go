// SPDX-License-Identifier: MIT

//go:build linux

package procfs

import (
	"bytes"
	"cmp"
	"errors"
	"strconv"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/sys"
	"ebpf-upgrader/selector"
)

// openRoot opens the root directory of the process whose files stand behind prefix below dir, and says what the
// process sees. What was opened is looked at, not what a second look-up leads to: the process may change its root.
func openRoot(dir int, prefix string) (fd int, v selector.View, err error) {
	fd, err = unix.Openat(dir, prefix+"root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, selector.View{}, err
	}
	root, err := statAt(fd, "", unix.AT_EMPTY_PATH)
	mounts, failed := namespace(dir, prefix+"ns/mnt")
	if err := cmp.Or(err, failed); err != nil {
		_ = unix.Close(fd)
		return -1, selector.View{}, err
	}
	return fd, selector.View{Mounts: mounts, Root: root.Image}, nil
}

// namespace is the inode number of one, which no two have at the same time. The link says it, as "mnt:[4026531841]"
// (ns_get_name in fs/nsfs.c, Linux 6.12); to follow it makes the inode, each time anew where nobody holds it.
func namespace(dir int, name string) (uint64, error) {
	link := make([]byte, 64)
	n, err := unix.Readlinkat(dir, name, link)
	if err != nil {
		return 0, err
	}
	_, number, _ := bytes.Cut(link[:n], []byte{'['})
	number, whole := bytes.CutSuffix(number, []byte{']'})
	if !whole {
		return 0, sys.ErrMalformed
	}
	return strconv.ParseUint(string(number), 10, 64)
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
	fd, view, err := openRoot(r.base(), "")
	switch {
	case err != nil:
		return -1, gone(err)
	case view != v:
		_ = unix.Close(fd)
		return -1, errOtherView
	}
	return fd, nil
}
