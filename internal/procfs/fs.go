// SPDX-License-Identifier: MIT

//go:build linux

package procfs

import (
	"bytes"
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
	large   sync.Pool // of *[]byte, maxFile long
	// self is the view of this process, to find out whether another process shares it. pids and users are its PID and user
	// namespaces.
	self        selector.View
	pids, users uint64
	lookups     *lookups
}

// bufferSize holds a whole stat file, a status with 1,024 groups, and the command line and environment of most processes.
const bufferSize = 16 << 10

func newBuffer(size int) func() any {
	return func() any {
		b := make([]byte, size)
		return &b
	}
}

// NewFS opens the proc file system that is mounted at root, usually "/proc". It fails for one of another PID namespace: a number
// would be one process there and another one for pidfd_open. The caller must Close the FS.
func NewFS(root string) (*FS, error) {
	fd, err := unix.Open(root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %q: %w", root, err)
	}
	fs := &FS{lookups: newLookups()}
	fs.root.Store(int32(fd))
	fs.buffers.New, fs.large.New = newBuffer(bufferSize), newBuffer(maxFile)
	if err := fs.readSelf(make([]byte, maxFile)); err != nil {
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
	text, err := readFile(fd, "self/status", buf)
	if err != nil {
		return errNotProc
	}
	_, numbers, _ := bytes.Cut(text, []byte("\nNSpid:")) // since Linux 4.1; a name has no newlines here
	numbers, _, _ = bytes.Cut(numbers, []byte{'\n'})
	if len(bytes.Fields(numbers)) > 1 {
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

// maxFile bounds the bytes read of one file: ten times the arguments and environment of any server seen. The kernel allows
// 6 MiB for both together (three quarters of _STK_LIM: bprm_stack_limits in fs/exec.c, Linux 6.12). With prctl(PR_SET_MM) a
// process can show a terabyte as its arguments, to cost this process time.
const maxFile = 1 << 20

var errTooLong = errors.New("longer than 1 MiB")

// readLong reads a file to its end, or until enough returns true. It passes the text to use, which must not
// keep it. buf is used first, and then a larger buffer of the pool. The buffer decides how many reads there are, because
// files in /proc do not show their sizes.
//
// A read returns all there is that fits, so a short read is the end (seq_read_iter in fs/seq_file.c for files made by
// single_open, and get_mm_cmdline in fs/proc/base.c, Linux 6.12).
func (fs *FS) readLong(fd int, buf []byte, enough func([]byte) bool, use func([]byte)) error {
	n, err := readOnce(fd, buf)
	if err == nil && n == len(buf) && !enough(buf) {
		large := fs.large.Get().(*[]byte)
		defer fs.large.Put(large)
		copy(*large, buf)
		buf = *large
		for size := 4 * n; ; size *= 4 {
			text := buf[:min(size, len(buf))]
			var more int
			more, err = readOnce(fd, text[n:])
			if n += more; err != nil || n < len(text) || enough(text) {
				break
			}
			if n == len(buf) {
				return errTooLong
			}
		}
	}
	if err != nil {
		return err
	}
	use(buf[:n])
	return nil
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

// readFile reads the file at name below dir, as much of it as fits in buf.
func readFile(dir int, name string, buf []byte) ([]byte, error) {
	fd, err := openFile(dir, name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	n, err := readOnce(fd, buf)
	return buf[:n], err
}

// readFileLong is readLong for the file at name below dir.
func (fs *FS) readFileLong(dir int, name string, buf []byte, enough func([]byte) bool, use func([]byte)) error {
	fd, err := openFile(dir, name)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	return fs.readLong(fd, buf, enough, use)
}

// stat reads the stat file at name below dir.
func (fs *FS) stat(dir int, name string, buf []byte) (stat, error) {
	line, err := readFile(dir, name, buf)
	if err != nil {
		return stat{}, err
	}
	return parseStat(line)
}

// MayBeServer reports whether the command line of a process matches p: as much of it is read as the match needs. A process with
// an empty command line may be a server if [FS.hidesCmdline].
//
// MayBeServer blocks for as long as the process holds the lock on its memory. Call it in a goroutine, and report a slow read
// with [FS.ChargeRead].
func (fs *FS) MayBeServer(pid selector.PID, p selector.Pattern, buf []byte) (is bool, err error) {
	fd, err := fs.openOf(pid, "cmdline")
	if err != nil {
		return false, err
	}
	isEmpty := false
	err = fs.readLong(fd, buf, func(b []byte) bool { return isDecided(p, b) }, func(cmdline []byte) {
		_, is = p.Match(cmdline)
		isEmpty = len(cmdline) == 0
	})
	_ = unix.Close(fd)
	return is || isEmpty && fs.hidesCmdline(pid), err
}

// hidesCmdline reports whether a process with an empty command line may still be a server. Its leader thread has exited while
// others live, and only their files show the arguments; or it is in the middle of an exec. It is also true for a process that
// overwrote its arguments, and for one that may not be read.
func (fs *FS) hidesCmdline(pid selector.PID) bool {
	buf := fs.buffers.Get().(*[]byte)
	defer fs.buffers.Put(buf)
	s, err := fs.stat(fs.Descriptor(), pid.String()+"/stat", *buf)
	if err != nil {
		return !errors.Is(err, ErrGone)
	}
	return !s.isKernelThread() && s.isAlive()
}
