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

// openRoot opens the root directory of the process with this prefix below dir, and returns its view. The view is
// that of the opened directory: the process may change its root meanwhile.
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

// namespace returns the inode number of a namespace, which no other has at the same time. It reads the link, as in
// "mnt:[4026531841]" (ns_get_name in fs/nsfs.c, Linux 6.12). To follow the link would create the inode, each time again if
// there is no other reference.
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

// errOtherView is the error for a process that no longer has the expected view.
var errOtherView = errors.New("the process has another root or mount namespace now")

// OpenRoot opens the root directory of a process with O_PATH, if the process still has that view. The caller owns the
// descriptor. OpenRoot fails with [ErrGone] when the process has ended.
func (fs *FS) OpenRoot(id selector.Identity, v selector.View) (int, error) {
	root := -1
	err := fs.inView(id, v, func(_, fd int) error {
		root = fd
		return nil
	})
	return root, err
}

// OpenMounts opens the mountinfo of a process and a pidfd of it, if the process still has that view. The caller owns the
// descriptors, and is to close them when the process has ended: they keep its mount namespace. OpenMounts fails with [ErrGone]
// when the process has ended.
func (fs *FS) OpenMounts(id selector.Identity, v selector.View) (info, process int, err error) {
	process, err = unix.PidfdOpen(int(id.PID), 0) // before the start time is read, which shows that it is that process
	if err != nil {
		return -1, -1, gone(err)
	}
	err = fs.inView(id, v, func(dir, root int) error {
		_ = unix.Close(root)
		info, err = openFile(dir, "mountinfo")
		return err
	})
	if err != nil {
		_ = unix.Close(process)
		return -1, -1, err
	}
	return info, process, nil
}

// inView calls act with the directory of a process in /proc and the descriptor of its root, which act owns.
func (fs *FS) inView(id selector.Identity, v selector.View, act func(dir, root int) error) error {
	dir, err := fs.open(id.PID)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(dir) }()
	buf := fs.buffers.Get().(*[]byte)
	defer fs.buffers.Put(buf)
	r := reader{fs: fs, dir: dir, buf: *buf}
	defer r.close()
	if err := r.readStat(); err != nil {
		return err
	}
	if r.p.StartTime != id.StartTime {
		return ErrGone
	}
	fd, view, err := openRoot(r.base(), "")
	switch {
	case err != nil:
		return gone(err)
	case view != v:
		_ = unix.Close(fd)
		return errOtherView
	}
	return act(r.base(), fd)
}
