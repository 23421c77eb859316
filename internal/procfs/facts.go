// SPDX-License-Identifier: MIT

//go:build linux

package procfs

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

func (r *reader) readStat() error {
	if err := r.openStat(r.dir); err != nil {
		return err
	}
	r.p.StartTime, r.p.Forked = r.first.startTime, r.first.isForked()
	r.p.Age = age(r.first.startTime)
	switch {
	case !r.first.isAlive():
		return ErrGone
	case r.first.hasExited():
		if err := r.switchToThread(); err != nil {
			return err
		}
	}
	r.p.Layout = r.first.layout
	return nil
}

// turnToThread goes on with a thread that lives. The leader has given its memory back, so where things stand there
// is what the thread shows.
func (r *reader) switchToThread() (err error) {
	if r.thread, err = r.fs.livingThread(r.dir, r.buf); err != nil {
		return err
	}
	_ = unix.Close(r.stat)
	r.stat = 0
	if err := r.openStat(r.thread); err != nil {
		return err
	}
	if r.first.hasExited() {
		return ErrGone
	}
	return nil
}

// openStat opens the stat file in dir, and reads it for the first time.
func (r *reader) openStat(dir int) error {
	fd, err := openFile(dir, "stat")
	if err != nil {
		return err
	}
	r.stat = fd
	r.first, err = r.readStatAgain()
	return err
}

// readStatAgain reads what the stat file says now. A read from the beginning has the kernel write it anew
// (seq_read_iter in fs/seq_file.c, Linux 6.12), about the process that the file was opened for, be its number used
// again or not: the inode holds the struct pid (proc_single_show in fs/proc/base.c).
func (r *reader) readStatAgain() (stat, error) {
	for {
		n, err := unix.Pread(r.stat, r.buf, 0)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return stat{}, gone(err)
		default:
			return parseWhole(r.buf[:n])
		}
	}
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

// livingThread opens the directory of the first thread that has not exited. When all that answer
// have, it fails with errDying.
func (fs *FS) livingThread(dir int, buf []byte) (int, error) {
	task, err := unix.Openat(dir, "task", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, gone(err)
	}
	defer func() { _ = unix.Close(task) }()
	tids, err := PIDs(task)
	if err != nil {
		return 0, gone(err)
	}
	failure := errDying
	for _, tid := range tids {
		thread, err := fs.openThread(task, tid, buf)
		if err == nil {
			return thread, nil
		}
		if !errors.Is(err, ErrGone) {
			failure = err
		}
	}
	return 0, failure
}

func (fs *FS) openThread(task int, tid selector.PID, buf []byte) (int, error) {
	thread, err := unix.Openat(task, tid.String(), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, gone(err)
	}
	s, err := fs.stat(thread, "stat", buf)
	if err == nil && s.hasExited() {
		err = ErrGone
	}
	if err != nil {
		_ = unix.Close(thread)
		return 0, err
	}
	return thread, nil
}

// longestArguments is how much text of a command line is kept to be shown.
const maxArguments = 4 << 10

// said is what a process says of itself in its memory.
type argsAndEnv struct {
	args              []string
	named, subcommand bool
	// variable is its value, or the beginning of one that is longer than any path.
	variable         string
	variableSet, cut bool
	dataDir          string
	// cmdline and environ say why there is none.
	cmdline, environ error
}

// readCmdline reads the arguments and, if they match, the environment: both in one go, because somebody else
// has to do it, who may never come back.
func (r *reader) readCmdline() error {
	var got argsAndEnv
	q, fs := r.q, r.fs
	err := r.readMemory(func(dir int) {
		buf := fs.buffers.Get().(*[]byte)
		got.read(dir, q, *buf)
		fs.buffers.Put(buf)
	})
	if err != nil {
		return err
	}
	if got.cmdline != nil {
		return got.cmdline
	}
	r.memory = got
	r.p.Args, r.p.Named, r.p.Subcommand = got.args, got.named, got.subcommand
	switch {
	case len(got.args) == 0 && !got.named:
		return r.checkNoCmdline()
	case !got.named || !got.subcommand:
		return errNotMatching
	}
	return nil
}

func (a *argsAndEnv) read(dir int, q Query, buf []byte) {
	cmdline, err := readFile(dir, "cmdline", buf, func(b []byte) bool { return isDecided(q.Pattern, b) })
	if a.cmdline = err; err != nil {
		return
	}
	a.named, a.subcommand = q.Pattern.Match(cmdline)
	a.args = selector.Arguments(cmdline[:min(len(cmdline), maxArguments)])
	if a.named && a.subcommand {
		a.environ = a.readEnvironment(dir, q.Variable, buf)
	}
}

func (a *argsAndEnv) readEnvironment(dir int, name string, buf []byte) error {
	const longest = unix.PathMax - 1
	environ, err := readFile(dir, "environ", buf, func(b []byte) bool { return hasAllVariables(b, name) })
	if err != nil {
		return err
	}
	value, found, _ := variableIn(environ, name)
	a.variable, a.variableSet, a.cut = string(value[:min(len(value), longest)]), found, len(value) > longest
	if found {
		a.dataDir = dataDirectory(environ)
	}
	return nil
}

// withoutCmdline turns down a process that shows no arguments, after a look at why it does not.
func (r *reader) checkNoCmdline() error {
	s, err := r.readStatAgain()
	if err != nil {
		return err
	}
	if s.hasExited() {
		return ErrGone
	}
	r.hasNoCmdline = !s.isKernelThread()
	return errNotMatching
}

// readEnvironment takes what was read with the arguments.
func (r *reader) readEnvironment() error {
	if r.memory.environ != nil {
		return r.memory.environ
	}
	r.p.Variable, r.p.VariableSet, r.p.DataDir = r.memory.variable, r.memory.variableSet, r.memory.dataDir
	if r.memory.cut {
		r.p.TargetProblem = "file name too long"
	}
	return nil
}

// readImage needs no limit: the link leads to an inode that the kernel holds, no name is looked up,
// and even NFS takes that at its word (nfs_lookup_verify_inode in fs/nfs/dir.c, Linux 6.12, asks the
// server only after ESTALE).
func (r *reader) readImage() error {
	f, err := statAt(r.base(), "exe", 0)
	if err != nil {
		return gone(err)
	}
	r.p.Image = f.Image
	return r.detectExec()
}

// noteExec finds out whether the process is in the middle of an exec, or has exec'd since its first stat line was
// read. An exec first shows the memory that is to be, and with it the image, then resets the handlers, and only then
// fills in the arguments: exec_mmap and flush_signal_handlers in begin_new_exec, then create_elf_tables in
// load_elf_binary, which sets arg_end (fs/exec.c and fs/binfmt_elf.c, Linux 6.12). Where they stand can be had
// without the lock on the memory (do_task_stat in fs/proc/array.c).
//
// After the status: memory that is the same as before the arguments were read has not been replaced, so no handler
// has been reset, and everything that was read between is of one image.
//
// After the image: the next image may have everything where the one before had it, where addresses are not
// randomised, and only an exec that is under way can be told there. Arguments that are there after the image was
// read say that what is read of the handlers after them is of that image or a later one, never of an earlier.
func (r *reader) detectExec() error {
	s, err := r.readStatAgain()
	switch {
	case err != nil:
		return err
	case s.hasExited():
		return ErrGone
	}
	r.p.MidExec = r.p.MidExec || !s.sameImage(r.first)
	return nil
}

// readStatus comes after all other facts, so it is also what tells that the process still lived when the image
// was read: the status of a zombie can be read, but says what it is.
func (r *reader) readStatus() error {
	s, err := r.status()
	switch {
	case errors.Is(err, ErrGone):
		return err
	case err != nil:
		r.unreadable(selector.FactHandler, err)
		return nil
	case s.hasExited():
		return ErrGone
	case s.tgid != r.p.PID:
		return errThread
	}
	r.p.Credentials, r.p.Catches = r.credentials(s), s.catches(int(r.q.Signal))
	r.readPIDNamespace(s)
	return nil
}

func (r *reader) status() (status, error) {
	text, err := readFile(r.base(), "status", r.buf, all)
	if err != nil {
		return status{}, err
	}
	return parseStatus(text)
}
