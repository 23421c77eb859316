// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"errors"
	"io"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/sys"
	"ebpf-upgrader/selector"
)

// mark tells one content of a file from the next: when any of it changes, the file was written to or
// is another one. Only a regular file has a size and times here, those of a directory change with
// what happens in it.
type mark struct {
	selector.Image
	size                int64
	mtime, ctime, btime moment
}

// moment is a time as statx gives it. File systems know years that a time.Duration since 1970 does not.
type moment struct {
	sec  int64
	nsec uint32
}

func momentOf(t unix.StatxTimestamp) moment { return moment{t.Sec, t.Nsec} }

// time is the zero Time for the zero moment.
func (m moment) time() time.Time {
	if m == (moment{}) {
		return time.Time{}
	}
	return time.Unix(m.sec, int64(m.nsec))
}

// isRegular reports whether m is that of a regular file, which the others have no change time for.
func (m mark) isRegular() bool { return m.ctime != (moment{}) }

func identify(i *selector.Install, m mark) {
	i.Image, i.Size = m.Image, m.size
	i.Modified, i.Changed, i.Born = m.mtime.time(), m.ctime.time(), m.btime.time()
}

// rootless is what stands where nobody can look.
func rootless(path string, err error) selector.Install {
	return selector.Install{Path: path, State: selector.StateMissing, Detail: sys.ErrorText(err)}
}

func stateOf(err error) selector.State {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return selector.StateMissing
	}
	return selector.StateUnready
}

// statOf asks for the birth time as well, which fstat(2) does not have.
func statOf(fd int) (unix.Statx_t, error) {
	var s unix.Statx_t
	err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &s)
	return s, err
}

func markFrom(s *unix.Statx_t) mark {
	m := mark{Image: imageOfStat(s)}
	if s.Mode&unix.S_IFMT != unix.S_IFREG {
		return m
	}
	m.size, m.mtime, m.ctime = int64(s.Size), momentOf(s.Mtime), momentOf(s.Ctime)
	if s.Mask&unix.STATX_BTIME != 0 {
		m.btime = momentOf(s.Btime)
	}
	return m
}

// deepestScript is how many scripts may stand in one chain: exec_binprm in fs/exec.c gives up when it
// would rewrite the program for the sixth time (Linux 6.12).
const deepestScript = 5

// examine checks one file, and names the file that is opened next to exec it: "" when there is none.
func examine(fd int) (next string, isScript bool, err error) {
	f, size, err := openProgram(fd)
	if err != nil {
		return "", false, err
	}
	defer func() { _ = f.Close() }()
	head := make([]byte, scriptLineLen)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", false, err
	}
	if interpreter, isScript, err := scriptInterpreter(head[:n]); isScript {
		return interpreter, true, err
	}
	next, err = elfInterpreter(f, size, runtime.GOARCH)
	return next, false, err
}

// examineLoader checks the interpreter of an ELF, which is an ELF itself. Should it name another one,
// as a library that can be run does, nobody asks for that (load_elf_interp in fs/binfmt_elf.c, Linux
// 6.12).
func examineLoader(fd int) (string, bool, error) {
	f, size, err := openProgram(fd)
	if err != nil {
		return "", false, err
	}
	defer func() { _ = f.Close() }()
	_, err = elfInterpreter(f, size, runtime.GOARCH)
	return "", false, err
}

// openProgram opens a file that may be exec'd as far as its metadata go, for reading, once it is known
// that this has no effect. What is opened is what fd leads to, whatever has become of its path.
func openProgram(fd int) (*os.File, int64, error) {
	s, err := statOf(fd)
	if err != nil {
		return nil, 0, err
	}
	if err := openable(uint32(s.Mode)); err != nil {
		return nil, 0, err
	}
	f, err := openForReading(reopen(fd))
	if err != nil {
		return nil, 0, err
	}
	if err := notBeingWritten(f); err != nil {
		_ = f.Close()
		return nil, 0, err
	}
	return sized(f)
}

// openable says why a file of that mode is not opened.
func openable(mode uint32) error {
	switch {
	case mode&unix.S_IFMT == unix.S_IFDIR:
		return errors.New("is a directory")
	case mode&unix.S_IFMT != unix.S_IFREG:
		return errors.New("is not a regular file")
	case mode&0o111 == 0:
		return errors.New("is not executable")
	}
	return nil
}

// openForReading does not wait for who has a lease on the file. The file itself waits: one that does not is
// given to the runtime's epoll instance by NewFile, with nothing else of this process going on until its file
// system has answered whether it can be polled (ep_insert in fs/eventpoll.c, fuse_file_poll in
// fs/fuse/file.c, Linux 6.12). A read holds up nobody but its thread.
func openForReading(path string) (*os.File, error) {
	fd, err := openAtOnce(path)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, false); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "program"), nil
}

func openAtOnce(path string) (int, error) {
	for {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// sized asks for the size only now that nobody writes: it may have grown since the first look.
func sized(f *os.File) (*os.File, int64, error) {
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// notBeingWritten asks for a read lease, which the kernel refuses with EAGAIN while anybody has the
// file open for writing (check_conflicting_open in fs/locks.c, Linux 6.12); an exec would fail with
// ETXTBSY then. Whoever opens the file for writing in the microseconds until the lease is given back
// waits for that long, or gets EAGAIN if he does not want to wait. This process gets a SIGIO for it,
// which the Go runtime catches and drops.
//
// The lease is for the owner of the file and for CAP_LEASE (EACCES), and some file systems have none
// (EINVAL, EOPNOTSUPP). Where it cannot be had, the time that the file must stand unchanged has to do.
func notBeingWritten(f *os.File) error {
	_, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
	switch {
	case errors.Is(err, unix.EAGAIN):
		return errWritten
	case err != nil:
		return nil //nolint:nilerr // cannot be told, as above
	}
	_, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
	return err
}
