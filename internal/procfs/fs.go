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

// ErrGone means that the process has ended. /proc shows that in three ways: ENOENT without a directory, ESRCH on reading a
// file that was opened before, and the state of a zombie.
var ErrGone = selector.ErrGone

// FS is a mounted proc file system. It holds a descriptor of its root directory until Close.
type FS struct {
	// root is -1 after Close. Abandoned goroutines read it, too.
	root    atomic.Int32
	buffers sync.Pool // of *[]byte, bufferSize long
	// self is the view of this process, to find out whether another process shares it. pids and users are its PID and user
	// namespaces.
	self        selector.View
	pids, users uint64
	lookups     *lookups
}

// bufferSize holds a whole stat or status file, and the command line and environment of most processes.
const bufferSize = 16 << 10

// NewFS opens the proc file system that is mounted at root, usually "/proc". It fails for one of another PID namespace: a number
// would be one process there and another one for pidfd_open. The caller must Close the FS.
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
	if err := fs.readSelf(make([]byte, bufferSize)); err != nil {
		_ = fs.Close()
		return nil, fmt.Errorf("open %q: %w", root, err)
	}
	return fs, nil
}

var (
	errNotProc = errors.New("it does not show this process: mount a proc file system there")
	errForeign = errors.New("it belongs to another PID namespace, so its numbers are those of other processes here: " +
		"mount the proc file system of this namespace there (mount -t proc proc /proc, or unshare --mount-proc)")
)

// readSelf reads what other processes are compared with. A namespace that cannot be read equals no other, which only costs
// time. In the proc file system of an outer PID namespace this process has a second number, its own.
func (fs *FS) readSelf(buf []byte) error {
	fd := fs.Descriptor()
	text, err := readFile(fd, "self/status", buf, nil)
	if err != nil {
		return errNotProc
	}
	s, err := parseStatus(text)
	switch {
	case err != nil:
		return err
	case s.pids > 1:
		return errForeign
	}
	if root, view, err := openRoot(fd, "self/"); err == nil {
		fs.self = view
		_ = unix.Close(root)
	}
	fs.pids, _ = namespace(fd, "self/ns/pid")
	fs.users, _ = namespace(fd, "self/ns/user")
	return nil
}

// View returns the mount namespace and root directory of this process.
func (fs *FS) View() selector.View { return fs.self }

// Close closes the descriptor of the root directory. It must not be called during another call.
func (fs *FS) Close() error {
	fd := fs.root.Swap(-1)
	if fd < 0 {
		return nil
	}
	return unix.Close(int(fd))
}

// Descriptor returns the descriptor of the root directory, for listing it. The FS owns it.
func (fs *FS) Descriptor() int { return int(fs.root.Load()) }

// open opens the directory of one process. The descriptor stays tied to that process. After its PID was reused, lookups below
// it fail with ESRCH or ENOENT: the inode holds the struct pid (proc_pid_make_inode and get_proc_task in fs/proc, Linux 6.12).
func (fs *FS) open(pid selector.PID) (int, error) {
	fd, err := unix.Openat(fs.Descriptor(), pid.String(), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, gone(err)
	}
	return fd, nil
}

// openOf opens a file of one process in one step. A scan does that for every process of the host, so it does not allocate.
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

// maxFile bounds the bytes read of one file. It holds a status with 65,536 groups, and ten times the arguments and environment
// of any server seen. The kernel allows 6 MiB for both together (three quarters of _STK_LIM: bprm_stack_limits in fs/exec.c,
// Linux 6.12). With prctl(PR_SET_MM) a process can show a terabyte as its arguments, to cost this process time.
const maxFile = 1 << 20

var errTooLong = errors.New("longer than 1 MiB")

// read reads a file of /proc to its end, or until enough, if set, returns true. The result is part of buf if it fits there. The buffer
// decides how many reads there are, because files in /proc do not show their sizes.
//
// A read returns all there is that fits, so a short read is the end (seq_read_iter in fs/seq_file.c for files made by
// single_open, and get_mm_cmdline in fs/proc/base.c, Linux 6.12).
func read(fd int, buf []byte, enough func([]byte) bool) ([]byte, error) {
	n, err := readOnce(fd, buf)
	for err == nil && n == len(buf) && (enough == nil || !enough(buf)) {
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

func readOnce(fd int, buf []byte) (int, error) {
	for {
		n, err := unix.Read(fd, buf)
		if !errors.Is(err, unix.EINTR) {
			return max(n, 0), gone(err)
		}
	}
}

// gone returns ErrGone for the two errors that mean the end of a process, and other errors as they are.
func gone(err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) {
		return ErrGone
	}
	return err
}

// readFile is read for the file at name below dir.
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
	line, err := readFile(dir, name, buf, nil)
	if err != nil {
		return stat{}, err
	}
	return parseStat(line)
}

// Cmdline reads the command line of a process: all of it, or as much as p needs for a match. It is empty for kernel threads,
// zombies, and the processes of [FS.HidesCmdline]. The result is part of buf if it fits there.
//
// Cmdline blocks for as long as the process holds the lock on its memory. Call it in a goroutine, and report a slow read with
// [FS.ChargeRead].
func (fs *FS) Cmdline(pid selector.PID, p selector.Pattern, buf []byte) ([]byte, error) {
	fd, err := fs.openOf(pid, "cmdline")
	if err != nil {
		return nil, err
	}
	cmdline, err := read(fd, buf, func(b []byte) bool { return isDecided(p, b) })
	_ = unix.Close(fd)
	return cmdline, err
}

// HidesCmdline reports whether a process with an empty command line may still be a server. Its leader thread has exited while
// others live, and only their files show the arguments; or it is in the middle of an exec. It is also true for a process that
// overwrote its arguments, and for one that may not be read.
func (fs *FS) HidesCmdline(pid selector.PID) bool {
	buf := fs.buffers.Get().(*[]byte)
	defer fs.buffers.Put(buf)
	s, err := fs.stat(fs.Descriptor(), pid.String()+"/stat", *buf)
	if err != nil {
		return !errors.Is(err, ErrGone)
	}
	return !s.isKernelThread() && s.isAlive()
}
