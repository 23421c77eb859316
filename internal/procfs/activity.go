// SPDX-License-Identifier: MIT

//go:build linux

package procfs

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/sys"
	"ebpf-upgrader/selector"
)

// Activity reads how often and how much a process has read and written: its threads and those that have ended together. It
// fails with [ErrGone] when there is no such process. IsCounted is false where the kernel does not count.
//
// It does not block on other processes. The kernel takes a lock that an exec holds only while it replaces the memory
// (exec_update_lock; do_io_accounting in fs/proc/base.c and exec_mmap in fs/exec.c, Linux 5.10 and 6.12).
func (fs *FS) Activity(pid selector.PID) (selector.Activity, error) {
	var text [512]byte // seven numbers with their names
	n := 0
	fd, err := fs.openOf(pid, "io")
	if err == nil {
		defer func() { _ = unix.Close(fd) }()
		n, err = readOnce(fd, text[:])
	}
	switch {
	case errors.Is(err, ErrGone) && fs.hasIO():
		return selector.Activity{}, fmt.Errorf("read the activity of %d: %w", pid, ErrGone)
	case err != nil:
		return selector.Activity{}, nil
	}
	return parseIO(text[:n])
}

// hasIO tells a process that has ended from a kernel without /proc/PID/io.
func (fs *FS) hasIO() bool {
	_, err := statAt(fs.Descriptor(), "self/io", 0)
	return err == nil
}

// parseIO parses /proc/PID/io. The four counters are the first lines, in this order (do_io_accounting in fs/proc/base.c, Linux 6.12).
func parseIO(text []byte) (a selector.Activity, err error) {
	counters := [...]struct {
		name  string
		value *uint64
	}{{"rchar", &a.BytesRead}, {"wchar", &a.BytesWritten}, {"syscr", &a.Reads}, {"syscw", &a.Writes}}
	next := 0
	for line := range bytes.Lines(text) {
		name, value, _ := bytes.Cut(bytes.TrimSuffix(line, []byte{'\n'}), []byte(": "))
		if next == len(counters) || string(name) != counters[next].name {
			break
		}
		if *counters[next].value, err = strconv.ParseUint(string(value), 10, 64); err != nil {
			break
		}
		next++
	}
	if a.IsCounted = next == len(counters); !a.IsCounted {
		return a, fmt.Errorf("parse io: %w", sys.ErrMalformed)
	}
	return a, nil
}

// HasBusyThread reports whether a thread of a process is busy. A busy thread runs, waits for a processor, is in
// uninterruptible sleep, or sleeps in a system call in which no thread waits for work, such as open(2). Where the kernel does
// not show system calls, only the thread states count: see inExec.
//
// It fails with [ErrGone] when there is no such process. It reads 1,024 threads at most.
func (fs *FS) HasBusyThread(pid selector.PID) (bool, error) {
	dir, err := fs.open(pid)
	if err != nil {
		return false, fmt.Errorf("read the activity of %d: %w", pid, err)
	}
	defer func() { _ = unix.Close(dir) }()
	buf := fs.buffers.Get().(*[]byte)
	defer fs.buffers.Put(buf)
	for tid, err := range numbers(dir, "task", maxThreads) {
		if err != nil {
			return false, fmt.Errorf("read the activity of %d: %w", pid, err)
		}
		if fs.isThreadBusy(dir, tid, *buf) {
			return true, nil
		}
	}
	return false, nil
}

func (fs *FS) isThreadBusy(dir int, tid selector.PID, buf []byte) bool {
	s, err := fs.stat(dir, "task/"+tid.String()+"/stat", buf)
	switch {
	case err != nil || s.hasExited():
		return false
	case s.state == 'R' || s.state == 'D':
		return true
	}
	number, err := syscallOf(dir, tid)
	return err == nil && number >= 0 && !isIdleSyscall(number)
}

// isIdleSyscall reports whether a thread that sleeps in a system call waits for work. Socket calls are not idle: such a thread
// has sent a request and waits for the reply.
func isIdleSyscall(number int) bool {
	switch number {
	case unix.SYS_FUTEX, unix.SYS_EPOLL_PWAIT, unix.SYS_EPOLL_PWAIT2, unix.SYS_PPOLL, unix.SYS_PSELECT6, unix.SYS_NANOSLEEP,
		unix.SYS_CLOCK_NANOSLEEP, unix.SYS_RT_SIGTIMEDWAIT, unix.SYS_RT_SIGSUSPEND, unix.SYS_RESTART_SYSCALL, unix.SYS_READ,
		unix.SYS_READV, unix.SYS_ACCEPT, unix.SYS_ACCEPT4, unix.SYS_IO_URING_ENTER:
		return true
	}
	return isArchIdleSyscall(number)
}
