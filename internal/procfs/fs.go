// SPDX-License-Identifier: MIT

//go:build linux

package procfs

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

// ErrGone means that the process has ended. /proc says so in three ways: ENOENT when the directory
// is not there, ESRCH on reading a file that was opened while it was, and a zombie.
var ErrGone = selector.ErrGone

// FS is a mounted proc file system. It holds a descriptor of its root until Close.
type FS struct {
	// root is -1 after Close. It is read by who was left behind, too.
	root    atomic.Int32
	buffers sync.Pool // of *[]byte, bufferSize long
	// self is this process's view of the world, to tell whether another process shares it, and the
	// namespaces that it lives in.
	self        selector.View
	pids, users uint64
	// ours says that the proc file system is that of our own PID namespace.
	isOwnPIDNamespace bool
	lookups           *lookups
}

// bufferSize holds stat and status whole, and the command line and environment of most processes.
const bufferSize = 16 << 10

// NewFS opens the proc file system that is mounted at root, "/proc" as a rule.
func NewFS(root string) (*FS, error) {
	fd, err := unix.Open(root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %q: %w", root, err)
	}
	fs := &FS{lookups: newLookups()}
	fs.root.Store(int32(fd))
	fs.buffers.New = func() any {
		b := make([]byte, bufferSize)
		return &b
	}
	buf := make([]byte, bufferSize)
	if _, err := fs.stat(fd, "self/stat", buf); err != nil {
		_ = fs.Close()
		return nil, fmt.Errorf("open %q: it does not show this process: mount a proc file system there", root)
	}
	fs.readSelf(buf)
	return fs, nil
}

// knowSelf reads what others are compared with. Unknown compares unequal, which only costs a look more.
func (fs *FS) readSelf(buf []byte) {
	fd := fs.Descriptor()
	if root, view, err := openRoot(fd, "self/"); err == nil {
		fs.self = view
		_ = unix.Close(root)
	}
	fs.pids, _ = namespace(fd, "self/ns/pid")
	fs.users, _ = namespace(fd, "self/ns/user")
	text, err := readFile(fd, "self/status", buf, all)
	if err != nil {
		return
	}
	s, err := parseStatus(text)
	fs.isOwnPIDNamespace = err == nil && s.pids == 1
}

// View is what this process sees of the files of the host.
func (fs *FS) View() selector.View { return fs.self }

// Close gives the descriptor back. It must not be called while other calls are under way.
func (fs *FS) Close() error {
	fd := fs.root.Swap(-1)
	if fd < 0 {
		return nil
	}
	return unix.Close(int(fd))
}

// Descriptor is that of the root directory, for walking it. It belongs to the FS.
func (fs *FS) Descriptor() int { return int(fs.root.Load()) }

// open opens the directory of one process. The descriptor stays tied to that process: when its
// number is used again, look-ups below it fail with ESRCH or ENOENT, because the inode holds the
// struct pid and not the number (proc_pid_make_inode and get_proc_task in fs/proc, Linux 6.12).
func (fs *FS) open(pid selector.PID) (int, error) {
	fd, err := unix.Openat(fs.Descriptor(), pid.String(), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, gone(err)
	}
	return fd, nil
}

// openOf opens a file of one process in one step. It is what a scan does for every process of the
// host, and allocates nothing.
func (fs *FS) openOf(pid selector.PID, file string) (int, error) {
	path := make([]byte, 0, 32) // a number, a slash and a short name
	path = strconv.AppendInt(path, int64(pid), 10)
	path = append(path, '/')
	path = append(path, file...)
	path = append(path, 0)
	fd, _, errno := unix.Syscall6(unix.SYS_OPENAT, uintptr(fs.Descriptor()), uintptr(unsafe.Pointer(&path[0])),
		unix.O_RDONLY|unix.O_CLOEXEC, 0, 0, 0)
	if errno != 0 {
		return -1, gone(errno)
	}
	return int(fd), nil
}

func openFile(dir int, name string) (int, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	return fd, gone(err)
}

// longestFile bounds what is read of one file. It holds what 65,536 groups take in status, and arguments and
// environment ten times as long as those of any server that was seen. The kernel lets both together be 6 MiB
// (three quarters of _STK_LIM: bprm_stack_limits in fs/exec.c, Linux 6.12), and a process can have a terabyte
// shown as one of them by prctl(PR_SET_MM), which is its way to cost us time.
const maxFile = 1 << 20

var errTooLong = errors.New("longer than 1 MiB")

// read reads a file of /proc to its end, or until enough of it was read. The result is part of buf
// when it fits there, which decides how many reads there are: sizes of /proc files lie. A read gives
// all that there is and fits, so a short one is the end (seq_read_iter in fs/seq_file.c for files
// made by single_open, and get_mm_cmdline in fs/proc/base.c, Linux 6.12).
func read(fd int, buf []byte, enough func([]byte) bool) ([]byte, error) {
	n, err := readOnce(fd, buf)
	for err == nil && n == len(buf) && !enough(buf) {
		if n >= maxFile {
			return nil, errTooLong
		}
		buf = append(buf[:n:n], make([]byte, min(3*n, maxFile-n))...)
		var more int
		more, err = readOnce(fd, buf[n:])
		n += more
	}
	return buf[:n], err
}

// all asks read for the whole file.
func all([]byte) bool { return false }

func readOnce(fd int, buf []byte) (int, error) {
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

// readFile reads the file at name below dir as read does.
func readFile(dir int, name string, buf []byte, enough func([]byte) bool) ([]byte, error) {
	fd, err := openFile(dir, name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	return read(fd, buf, enough)
}

// stat reads the stat file at name below dir.
func (fs *FS) stat(dir int, name string, buf []byte) (stat, error) {
	line, err := readFile(dir, name, buf, all)
	if err != nil {
		return stat{}, err
	}
	return parseStat(line)
}

// Cmdline reads the command line of a process: all of it, or as much as p needs to match it. It is
// empty for kernel threads, zombies, and those of which [FS.HidesCmdline] tells. The result is part
// of buf when it fits there. It blocks for as long as the process has its memory held: who calls it must
// not wait, and tell [FS.Slow] then.
func (fs *FS) Cmdline(pid selector.PID, p selector.Pattern, buf []byte) ([]byte, error) {
	fd, err := fs.openOf(pid, "cmdline")
	if err != nil {
		return nil, err
	}
	cmdline, err := read(fd, buf, func(b []byte) bool { return isDecided(p, b) })
	_ = unix.Close(fd)
	return cmdline, err
}

// HidesCmdline reports whether a process whose command line is empty may have one all the same:
// its leader thread has exited while others live, and only their files tell what it is, or it is in
// the middle of an exec. It is true also of a process that overwrote its arguments, and of one that
// may not be looked at.
func (fs *FS) HidesCmdline(pid selector.PID) bool {
	buf := fs.buffers.Get().(*[]byte)
	defer fs.buffers.Put(buf)
	s, err := fs.stat(fs.Descriptor(), pid.String()+"/stat", *buf)
	if err != nil {
		return !errors.Is(err, ErrGone)
	}
	return !s.isKernelThread() && s.isAlive()
}
