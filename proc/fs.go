// SPDX-License-Identifier: MIT

//go:build linux

package proc

import (
	"errors"
	"fmt"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

// ErrGone means that the process has ended. /proc says so in three ways: ENOENT when the directory
// is not there, ESRCH on reading a file that was opened while it was, and a zombie.
var ErrGone = selector.ErrGone

// FS is a mounted proc file system. It holds a descriptor of its root until Close.
type FS struct {
	root    int
	buffers sync.Pool // of *[]byte, bufferSize long
	// self is this process's view of the world, to tell whether another process shares it.
	self view
	// resolves bounds the look-ups that wait for a file system that may never answer.
	resolves chan struct{}
}

// bufferSize holds stat and status whole, and the command line and environment of most processes.
const bufferSize = 16 << 10

// stuckResolves is how many look-ups may wait for file systems that do not answer. Each holds a
// thread of this process for as long as that lasts.
const stuckResolves = 16

// NewFS opens the proc file system that is mounted at root, "/proc" as a rule.
func NewFS(root string) (*FS, error) {
	fd, err := unix.Open(root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %q: %w", root, err)
	}
	fs := &FS{root: fd, resolves: make(chan struct{}, stuckResolves)}
	fs.buffers.New = func() any {
		b := make([]byte, bufferSize)
		return &b
	}
	if _, err := fs.readInto(fd, "self/stat", make([]byte, bufferSize)); err != nil {
		_ = fs.Close()
		return nil, fmt.Errorf("open %q: it does not show this process: mount a proc file system there", root)
	}
	fs.self, _ = viewOf(fd, "self") // unknown compares unequal, which only costs a look more
	return fs, nil
}

// Close gives the descriptor back. It must not be called while other calls are under way.
func (fs *FS) Close() error {
	if fs.root < 0 {
		return nil
	}
	fd := fs.root
	fs.root = -1
	return unix.Close(fd)
}

// Descriptor is that of the root directory, for walking it. It belongs to the FS.
func (fs *FS) Descriptor() int { return fs.root }

// open opens the directory of one process. The descriptor stays tied to that process: when its
// number is used again, look-ups below it fail with ESRCH (proc_pid_lookup and pid_revalidate in
// fs/proc/base.c, Linux 6.12).
func (fs *FS) open(pid selector.PID) (int, error) {
	fd, err := unix.Openat(fs.root, strconv.Itoa(int(pid)), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, gone(err)
	}
	return fd, nil
}

// readInto reads a file below dir until the buffer is full or the file ends. Sizes of /proc files
// lie, so only the reads count.
func (fs *FS) readInto(dir int, name string, buf []byte) (int, error) {
	fd, err := openFile(dir, name)
	if err != nil {
		return 0, err
	}
	defer func() { _ = unix.Close(fd) }()
	return readFull(fd, buf)
}

func openFile(dir int, name string) (int, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	return fd, gone(err)
}

// readFull fills buf from a file of /proc. One read does: they give all that there is, as long as it
// fits, so a short read is the end (single_open files, and get_mm_cmdline and environ_read in
// fs/proc/base.c, Linux 6.12).
func readFull(fd int, buf []byte) (int, error) {
	for {
		n, err := unix.Read(fd, buf)
		if !errors.Is(err, unix.EINTR) {
			return max(n, 0), gone(err)
		}
	}
}

// gone turns the two errors that mean the end of a process into ErrGone.
func gone(err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) {
		return ErrGone
	}
	return err
}
