// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

// Check says what stands at path now. It blocks no longer than its file system does.
func Check(path string) selector.Install {
	i, _ := look(path)
	return i
}

// mark tells one content of a file from the next: when any of it changes, the file was written to or
// is another one.
type mark struct {
	selector.Image
	size         int64
	mtime, ctime unix.Timespec
}

// look also gives the mark of the file that it looked at; the zero mark when there is none.
func look(path string) (selector.Install, mark) {
	i := selector.Install{Path: path}
	fd, m, err := openPath(path)
	if err != nil {
		i.State, i.Detail = stateOf(err), plain(err)
		return i, m
	}
	defer func() { _ = unix.Close(fd) }()
	i.Image = m.Image
	i.Interpreters, err = ready(fd)
	i.State = selector.StateReady
	if err != nil {
		i.State, i.Detail = selector.StateUnready, plain(err)
	}
	return i, m
}

func stateOf(err error) selector.State {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return selector.StateMissing
	}
	return selector.StateUnready
}

// plain leaves the system's words of an error, and ours as they are.
func plain(err error) string {
	if errno := syscall.Errno(0); errors.As(err, &errno) {
		return errno.Error()
	}
	return err.Error()
}

// openPath opens path without opening what stands there: O_PATH has no effect on the file.
func openPath(path string) (int, mark, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, mark{}, err
	}
	var s unix.Stat_t
	if err := unix.Fstat(fd, &s); err != nil {
		_ = unix.Close(fd)
		return -1, mark{}, err
	}
	return fd, mark{selector.Image{Dev: s.Dev, Ino: s.Ino}, s.Size, s.Mtim, s.Ctim}, nil
}

// ready says why the file that fd leads to cannot be exec'd. When it can, it answers with the paths
// that the kernel opens besides.
func ready(fd int) (interpreters []string, err error) {
	// What the path led to first is what is asked after; the link holds on to it.
	for link := "/proc/self/fd/" + strconv.Itoa(fd); ; {
		next, err := interpreterOf(link)
		if err != nil {
			if len(interpreters) > 0 {
				err = fmt.Errorf("interpreter %q: %s", interpreters[len(interpreters)-1], plain(err))
			}
			return nil, err
		}
		if next == "" {
			return interpreters, nil
		}
		if len(interpreters) == deepestScript {
			return nil, errors.New("too many scripts whose interpreter is a script")
		}
		interpreters = append(interpreters, next)
		link = next
	}
}

// deepestScript is how many files the kernel opens one after the other: exec_binprm in fs/exec.c
// gives up at a depth of 5 (Linux 6.12).
const deepestScript = 5

// interpreterOf checks one file, and names the file that is opened next to exec it: "" when there is
// none. An ELF interpreter is a file of its own kind, and is the last.
func interpreterOf(path string) (string, error) {
	f, err := openRegular(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	if err := notBeingWritten(f); err != nil {
		return "", err
	}
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	head := make([]byte, scriptLineLen)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if interpreter, isScript, err := scriptInterpreter(head[:n]); isScript {
		return interpreter, err
	}
	return elfInterpreter(f, info.Size(), runtime.GOARCH)
}

// openRegular opens a file for reading once it is known that this has no effect.
func openRegular(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	var s unix.Stat_t
	if err := unix.Fstat(fd, &s); err != nil {
		return nil, err
	}
	switch {
	case s.Mode&unix.S_IFMT == unix.S_IFDIR:
		return nil, errors.New("is a directory")
	case s.Mode&unix.S_IFMT != unix.S_IFREG:
		return nil, errors.New("is not a regular file")
	case s.Mode&0o111 == 0:
		return nil, errors.New("is not executable")
	}
	again, err := unix.Open("/proc/self/fd/"+strconv.Itoa(fd), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(again), path), nil
}

var errBeingWritten = errors.New("is open for writing")

// notBeingWritten asks for a read lease, which the kernel refuses with EAGAIN while anybody has the
// file open for writing (check_conflicting_open in fs/locks.c, Linux 6.12); an exec would fail with
// ETXTBSY then. Who opens the file for writing in the microseconds until the lease is given back
// waits for that long; the SIGIO that this process gets for it is ignored by the Go runtime.
//
// The lease is for the owner of the file and for CAP_LEASE, and some file systems have none. Where
// it cannot be had, the time that the file must stand unchanged has to do.
func notBeingWritten(f *os.File) error {
	_, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
	switch {
	case errors.Is(err, unix.EAGAIN):
		return errBeingWritten
	case err != nil:
		return nil //nolint:nilerr // cannot be told, as above
	}
	_, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
	return err
}
