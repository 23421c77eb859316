// SPDX-License-Identifier: MIT

//go:build linux

package proc

import (
	"errors"
	"fmt"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

// Query says what is to be read of a process.
type Query struct {
	Pattern selector.Pattern
	// Variable is the one that names what the process would exec.
	Variable string
	// Signal is the one whose handler is asked for.
	Signal syscall.Signal
	// Interpreters are looked for in the roots of processes that do not share ours.
	Interpreters []string
}

// attempts bounds how often a process is read again that lost its leader, or exec'd, while it was
// read.
const attempts = 3

// Inspect reads the facts about one process: stat and command line, and only if these match the
// pattern its environment and the file that the variable names; the image and the handler last. It
// fails with [ErrGone] when there is no such process. A fact that cannot be read, or not within a
// second, is named in the result, and the ones after it are missing.
func (fs *FS) Inspect(pid selector.PID, q Query) (selector.Process, error) {
	dir, err := fs.open(pid)
	if err != nil {
		return selector.Process{}, notFound(pid, err)
	}
	defer func() { _ = unix.Close(dir) }()
	buf := fs.buffers.Get().(*[]byte)
	defer fs.buffers.Put(buf)
	for range attempts {
		r := reader{fs: fs, q: q, dir: dir, buf: *buf}
		r.p.PID = pid
		err = r.read()
		r.close()
		// A leader that exits makes its files vanish, but the process lives on.
		if !errors.Is(err, ErrGone) || !fs.lives(dir, *buf) {
			return r.p, notFound(pid, err)
		}
	}
	p := selector.Process{Identity: selector.Identity{PID: pid}}
	p.Unreadable = selector.Unreadable{Fact: selector.FactStat, Why: "no thread answers"}
	return p, nil
}

func notFound(pid selector.PID, err error) error {
	if err != nil {
		return fmt.Errorf("inspect %d: %w", pid, err)
	}
	return nil
}

// lives reports whether any thread of the process does.
func (fs *FS) lives(dir int, buf []byte) bool {
	s, err := fs.stat(dir, buf)
	return err == nil && (!s.exited() || s.numThreads > 1)
}

// LeaderExited reports whether the process goes on although the thread that it is named after has
// ended. Its own files are empty then, and only those of its other threads tell what it is.
func (fs *FS) LeaderExited(pid selector.PID) bool {
	buf := fs.buffers.Get().(*[]byte)
	defer fs.buffers.Put(buf)
	n, err := fs.readInto(fs.root, pid.String()+"/stat", *buf)
	if err != nil {
		return false
	}
	s, err := parseStat((*buf)[:n])
	return err == nil && s.exited() && s.numThreads > 1
}

func (fs *FS) stat(dir int, buf []byte) (stat, error) {
	n, err := fs.readInto(dir, "stat", buf)
	if err != nil {
		return stat{}, err
	}
	return parseStat(buf[:n])
}

// reader reads one process once.
type reader struct {
	fs  *FS
	q   Query
	buf []byte
	p   selector.Process
	// dir is the directory of the process.
	dir int
	// thread is the directory that the facts are read from: dir, or that of a thread that lives on
	// after the leader. 0 stands for dir: as a descriptor it is never ours.
	thread int
}

func (r *reader) close() {
	if r.thread != 0 {
		_ = unix.Close(r.thread)
	}
}

func (r *reader) at() int {
	if r.thread != 0 {
		return r.thread
	}
	return r.dir
}

// errTurnedDown ends the reading of a process that the pattern turns down.
var errTurnedDown = errors.New("turned down")

func (r *reader) read() error {
	for _, step := range []struct {
		fact selector.Fact
		read func() error
	}{
		{selector.FactStat, r.readStat},
		{selector.FactCmdline, r.readCmdline},
		{selector.FactEnvironment, r.readEnvironment},
		{selector.FactTarget, r.readTarget},
		{selector.FactImage, r.readImage},
	} {
		err := step.read()
		switch {
		case errors.Is(err, errTurnedDown):
		case errors.Is(err, ErrGone):
			return err
		case err != nil:
			r.p.Unreadable = selector.Unreadable{Fact: step.fact, Why: plain(err)}
		default:
			continue
		}
		break
	}
	// The status is read in any case: it says whose process this is, and that it lives.
	return r.readStatus()
}

// plain leaves the system's words of an error.
func plain(err error) string {
	if errno := syscall.Errno(0); errors.As(err, &errno) {
		return errno.Error()
	}
	return err.Error()
}

func (r *reader) readStat() error {
	s, err := r.fs.stat(r.dir, r.buf)
	if err != nil {
		return err
	}
	r.p.StartTime, r.p.Forked = s.startTime, s.forked()
	r.p.Age = age(s.startTime)
	switch {
	case !s.exited():
		return nil
	case s.numThreads <= 1:
		return ErrGone
	}
	r.thread, err = r.fs.livingThread(r.dir, r.buf)
	return err
}

// userHZ is the unit of times in /proc: USER_HZ of include/asm-generic/param.h, which is 100 on
// every architecture that Go runs on.
const userHZ = 100

// age is the time since startTime, both counted from boot, suspends included.
func age(startTime uint64) time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return 0 // never refused for this clock; 0 takes a fork for a young one, which is safe
	}
	return max(0, time.Duration(now.Nano())-time.Duration(startTime)*(time.Second/userHZ))
}

// livingThread opens the directory of the first thread that has not exited.
func (fs *FS) livingThread(dir int, buf []byte) (int, error) {
	task, err := unix.Openat(dir, "task", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, gone(err)
	}
	defer func() { _ = unix.Close(task) }()
	tids, err := Numbers(task, nil)
	if err != nil {
		return 0, gone(err)
	}
	for _, tid := range tids {
		thread, err := unix.Openat(task, strconv.Itoa(int(tid)), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		if s, err := fs.stat(thread, buf); err == nil && !s.exited() {
			return thread, nil
		}
		_ = unix.Close(thread)
	}
	return 0, ErrGone // if it is not, Inspect finds out and tries again
}

// longestArguments is how much text of a command line is kept to be shown.
const longestArguments = 4 << 10

func (r *reader) readCmdline() error {
	cmdline, err := r.fs.Cmdline(r.at(), "cmdline", r.buf)
	if err != nil {
		return err
	}
	r.p.Named, r.p.Subcommand = r.q.Pattern.Match(cmdline)
	r.p.Args = selector.Arguments(cmdline[:min(len(cmdline), longestArguments)])
	if !r.p.Named || !r.p.Subcommand {
		return errTurnedDown
	}
	return nil
}

// longestCmdline is more than the kernel lets arguments and environment be together: three quarters
// of _STK_LIM, 6 MiB (bprm_stack_limits in fs/exec.c, Linux 6.12). A process can make its command
// line longer by prctl(PR_SET_MM_ARG_END); what lies behind is not looked at.
const longestCmdline = 8 << 20

// Cmdline reads the command line at name below the directory dir, into buf as long as it fits.
func (fs *FS) Cmdline(dir int, name string, buf []byte) ([]byte, error) {
	fd, err := openFile(dir, name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	n, err := readFull(fd, buf)
	for err == nil && n == len(buf) && n < longestCmdline {
		buf = append(buf[:n:n], make([]byte, 3*n)...)
		var m int
		m, err = readFull(fd, buf[n:])
		n += m
	}
	return buf[:n], err
}

func (r *reader) readEnvironment() error {
	fd, err := openFile(r.at(), "environ")
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	v := newVariable(r.q.Variable, unix.PathMax-1)
	for {
		n, err := readFull(fd, r.buf)
		if err != nil {
			return err
		}
		if v.feed(r.buf[:n]) {
			break
		}
		if n < len(r.buf) {
			v.endEntry()
			break
		}
	}
	r.p.Variable, r.p.VariableSet = v.value, v.found
	if v.cut {
		r.p.TargetProblem = "file name too long"
	}
	return nil
}

func (r *reader) readImage() error {
	f, err := statAt(r.at(), "exe", 0)
	r.p.Image = f.Image
	return gone(err)
}

func (r *reader) readStatus() error {
	n, err := r.fs.readInto(r.at(), "status", r.buf)
	if err != nil {
		return err
	}
	s, err := parseStatus(r.buf[:n])
	if err != nil {
		if r.p.Unreadable.Fact == "" {
			r.p.Unreadable = selector.Unreadable{Fact: selector.FactHandler, Why: plain(err)}
		}
		return nil
	}
	r.p.Credentials, r.p.Catches = s.credentials, s.catches(int(r.q.Signal))
	return nil
}
