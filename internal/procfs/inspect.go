// SPDX-License-Identifier: MIT

//go:build linux

package procfs

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/sys"
	"ebpf-upgrader/selector"
)

// Query selects what is read of a process.
type Query struct {
	Pattern selector.Pattern
	// Variable is the environment variable with the path that the process would exec.
	Variable string
	// Signal is looked up in the set of signals with a handler.
	Signal syscall.Signal
	// Interpreters are paths that are looked up in the root of a process with another view than ours.
	Interpreters []string
	// Since excludes the results of lookups that started earlier. The late result of a slow file system serves
	// inspections for 2 s, but not those with a later Since.
	Since time.Time
}

// maxAttempts bounds the attempts to read a process that loses its leader or execs meanwhile. execRetryDelay is the pause
// after an attempt that found an exec under way: the arguments appear after some hundred microseconds.
const (
	maxAttempts    = 5
	execRetryDelay = 300 * time.Microsecond
)

// Inspect reads the facts of one process. It reads stat and command line first. Only if these match the pattern, it reads the
// environment and the file that the variable names. Image and handler come last, then the check for an exec meanwhile.
//
// It fails with [ErrGone] when there is no such process. Unreadable in the result names the first fact that cannot be read, or
// not in time; the facts after it are missing.
func (fs *FS) Inspect(pid selector.PID, q Query) (selector.Process, error) {
	dir, err := fs.open(pid)
	if err != nil {
		return selector.Process{}, inspectError(pid, err)
	}
	defer func() { _ = unix.Close(dir) }()
	buf := fs.buffers.Get().(*[]byte)
	defer fs.buffers.Put(buf)
	r := reader{fs: fs, q: q, dir: dir, buf: *buf}
	for range maxAttempts {
		r.p = selector.Process{Identity: selector.Identity{PID: pid}}
		r.hasNoCmdline, r.isContainerUnnamed, r.hasEarlyCredentials = false, false, false
		err = r.read()
		r.close()
		switch {
		case errors.Is(err, ErrGone) && !errors.Is(err, errIsThread) && r.isAlive():
			// When a leader exits, its files vanish, but the process lives on.
		case err == nil && r.hasNoCmdline:
			time.Sleep(execRetryDelay)
		default:
			return r.p, inspectError(pid, err)
		}
	}
	if errors.Is(err, ErrGone) && !errors.Is(err, errAllExited) {
		r.p.Unreadable, err = selector.Unreadable{Fact: selector.FactCmdline, Why: "no thread can be read"}, nil
	}
	return r.p, inspectError(pid, err)
}

func inspectError(pid selector.PID, err error) error {
	if err != nil {
		return fmt.Errorf("inspect %d: %w", pid, err)
	}
	return nil
}

var (
	// errIsThread is the error for the number of a thread: /proc has a directory for it, but does not list it.
	errIsThread = fmt.Errorf("a thread of another process: %w", ErrGone)
	// errAllExited is the error for a process that has not been reaped and has no live thread.
	errAllExited = fmt.Errorf("all threads have exited: %w", ErrGone)
)

// reader reads one process once.
type reader struct {
	fs  *FS
	q   Query
	buf []byte
	p   selector.Process
	// dir is the directory of the process.
	dir int
	// thread is the directory from which the facts are read once the leader has exited. Here and below, 0 means none: that
	// descriptor is never one of ours.
	thread int
	// stat is the open stat file of dir or thread, and first its content before any other fact was read. To open it again
	// would take longer than to read it.
	stat  int
	first stat
	// root is the root directory of the process, once its view was read.
	root int
	// earlyCredentials are those read before the target, if hasEarlyCredentials is true.
	earlyCredentials    selector.Credentials
	hasEarlyCredentials bool
	// isContainerUnnamed is true if no runtime has named the container. The PID namespace decides then.
	isContainerUnnamed bool
	// memory has the arguments and the environment.
	memory argsAndEnv
	// hasNoCmdline is true if the command line is empty and should not be.
	hasNoCmdline bool
}

func (r *reader) close() {
	for _, fd := range []*int{&r.thread, &r.stat, &r.root} {
		if *fd != 0 {
			_ = unix.Close(*fd)
			*fd = 0
		}
	}
}

// isAlive reports whether the process still exists.
func (r *reader) isAlive() bool {
	s, err := r.fs.stat(r.dir, "stat", r.buf)
	return err == nil && s.isAlive()
}

func (r *reader) base() int {
	if r.thread != 0 {
		return r.thread
	}
	return r.dir
}

// errNotMatching ends the inspection of a process that does not match the pattern.
var errNotMatching = errors.New("does not match the pattern")

func (r *reader) read() error {
	for _, step := range []struct {
		fact selector.Fact
		read func() error
	}{
		{selector.FactStat, r.readStat},
		{selector.FactCmdline, r.readCmdline},
		{selector.FactEnvironment, r.readEnvironment},
		{selector.FactEnvironment, r.readContainer},
		{selector.FactTarget, r.readTarget},
		{selector.FactImage, r.readImage},
		{selector.FactImage, r.readExecs},
	} {
		err := step.read()
		switch {
		case errors.Is(err, errNotMatching):
		case errors.Is(err, ErrGone):
			return err
		case err != nil:
			r.setUnreadable(step.fact, err)
		default:
			continue
		}
		break
	}
	// The status is always read: it has the user of the process, and proves that the process is alive.
	if err := r.readStatus(); err != nil || !r.p.Image.Known() {
		return err
	}
	err := r.detectExec()
	if err != nil && !errors.Is(err, ErrGone) {
		r.setUnreadable(selector.FactHandler, err)
		return nil
	}
	return err
}

// setUnreadable stores the first fact that could not be read.
func (r *reader) setUnreadable(fact selector.Fact, err error) {
	if r.p.Unreadable.Fact == "" {
		r.p.Unreadable = selector.Unreadable{Fact: fact, Why: sys.ErrorText(err), IsTemporary: isTemporary(err)}
	}
}
