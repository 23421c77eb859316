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

// Query says what is to be read of a process.
type Query struct {
	Pattern selector.Pattern
	// Variable is the one that names what the process would exec.
	Variable string
	// Signal is the one whose handler is asked for.
	Signal syscall.Signal
	// Interpreters are looked for in the roots of processes that do not share ours.
	Interpreters []string
	// Since is what an answer must not be older than: a file system that was slow to answer an earlier look has its
	// answer serve the next ones, for 2 s.
	Since time.Time
}

// attempts bounds how often a process is read again that lost its leader or exec'd while it was
// read, and execPause is the time between two attempts that found an exec under way: it takes some
// hundred microseconds until there are arguments again.
const (
	attempts  = 5
	execPause = 300 * time.Microsecond
)

// Inspect reads the facts about one process: stat and command line, and only if these match the
// pattern its environment and the file that the variable names; the image and the handler last, and
// then whether it exec'd meanwhile. It fails with [ErrGone] when there is no such process. A fact that
// cannot be read, or not at once, is named in the result, and the ones after it are missing.
func (fs *FS) Inspect(pid selector.PID, q Query) (selector.Process, error) {
	dir, err := fs.open(pid)
	if err != nil {
		return selector.Process{}, notFound(pid, err)
	}
	defer func() { _ = unix.Close(dir) }()
	buf := fs.buffers.Get().(*[]byte)
	defer fs.buffers.Put(buf)
	r := reader{fs: fs, q: q, dir: dir, buf: *buf}
	for range attempts {
		r.p = selector.Process{Identity: selector.Identity{PID: pid}}
		r.hasNoCmdline, r.isContainerUnnamed, r.hasEarlyCredentials = false, false, false
		err = r.read()
		r.close()
		switch {
		case errors.Is(err, ErrGone) && !errors.Is(err, errThread) && r.isAlive():
			// A leader that exits makes its files vanish, but the process lives on.
		case err == nil && r.hasNoCmdline:
			time.Sleep(execPause)
		default:
			return r.p, notFound(pid, err)
		}
	}
	if errors.Is(err, ErrGone) && !errors.Is(err, errDying) {
		r.p.Unreadable, err = selector.Unreadable{Fact: selector.FactCmdline, Why: "no thread answers"}, nil
	}
	return r.p, notFound(pid, err)
}

func notFound(pid selector.PID, err error) error {
	if err != nil {
		return fmt.Errorf("inspect %d: %w", pid, err)
	}
	return nil
}

var (
	// errThread is for a number that /proc answers to although it lists no such process.
	errThread = fmt.Errorf("a thread of another process: %w", ErrGone)
	// errDying is for a process all of whose threads have exited, but are not reaped yet.
	errDying = fmt.Errorf("all threads have exited: %w", ErrGone)
)

// reader reads one process once.
type reader struct {
	fs  *FS
	q   Query
	buf []byte
	p   selector.Process
	// dir is the directory of the process.
	dir int
	// thread is the directory that the facts are read from: dir, or that of a thread that lives on
	// after the leader. 0 stands for dir, as for none below: as a descriptor it is never ours.
	thread int
	// stat is the stat file in the directory that the facts are read from, and first what it said before anything
	// else was read. Open again, it would cost more than it takes to read it.
	stat  int
	first stat
	// root is the root directory of the process, once its view was read.
	root int
	// early are the credentials as they were read before the target, if knows says so.
	earlyCredentials    searcher
	hasEarlyCredentials bool
	// unnamed says that no runtime has named the container, if it is in one: its PID namespace has to tell.
	isContainerUnnamed bool
	// said is what the process says of itself.
	memory argsAndEnv
	// empty says that there is no command line although there should be one.
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

// lives reports whether the process is still there.
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

// errTurnedDown ends the reading of a process that the pattern turns down.
var errNotMatching = errors.New("turned down")

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
		{selector.FactImage, r.readExecs},
		{selector.FactImage, r.readImage},
	} {
		err := step.read()
		switch {
		case errors.Is(err, errNotMatching):
		case errors.Is(err, ErrGone):
			return err
		case err != nil:
			r.unreadable(step.fact, err)
		default:
			continue
		}
		break
	}
	// The status is read in any case: it says whose process this is, and that it lives.
	if err := r.readStatus(); err != nil || !r.p.Image.Known() {
		return err
	}
	err := r.detectExec()
	if err != nil && !errors.Is(err, ErrGone) {
		r.unreadable(selector.FactHandler, err)
		return nil
	}
	return err
}

// unreadable notes the first fact that could not be read.
func (r *reader) unreadable(fact selector.Fact, err error) {
	if r.p.Unreadable.Fact == "" {
		r.p.Unreadable = selector.Unreadable{Fact: fact, Why: sys.ErrorText(err), IsTemporary: isTemporary(err)}
	}
}
