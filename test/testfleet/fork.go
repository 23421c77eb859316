// SPDX-License-Identifier: MIT

//go:build linux

package testfleet

import (
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

// A forked child that has not exec'd is a copy of a Go program with one thread: it has no scheduler and no garbage
// collector, and locks may be held by threads that do not exist. So its code makes only raw system calls, on memory
// that was prepared before the fork. The runtime must not run in it: the code is nosplit (no growing stack, no
// preemption) and norace, and blocks all signals. Package syscall does the same between fork and exec.

// signalfdInfoSize is the size of struct signalfd_siginfo (include/uapi/linux/signalfd.h).
const signalfdInfoSize = 128

// The reports of a daemon that has not exec'd, as they are in child.lines.
const (
	saysDaemonised = iota
	saysArmed
	saysSignalled
	saysDraining
	saysExec
	saysExecFailed
	daemonReports
)

// numberPlace is a placeholder with the width of the largest PID.
const (
	numberPlace = selector.PID(2147483647)
	numberWidth = 10
)

// child is the memory that a forked child needs.
type child struct {
	// fds are the descriptors that it waits for: a signalfd for SIGUSR1, and the lifeline. watched is how many of them
	// it uses.
	fds     [2]unix.PollFd
	watched uintptr
	// timeout limits the wait of a child that is about to exec; nil: no limit.
	timeout *unix.Timespec
	// needed is how many signals make a daemon exec; zero: none. drain is the time between signal and exec.
	needed int
	drain  *unix.Timespec
	// mask is the signal mask of the next image. Until the exec, all signals are blocked.
	mask, all unix.Sigset_t
	// parent is the process that the child must not outlive.
	parent uintptr
	// path, argv and envp are the arguments of execve.
	path       *byte
	argv, envp []*byte
	// lines are the reports of a daemon; number is the position of its PID in the first one.
	lines  [daemonReports][]byte
	number *[numberWidth]byte

	defaults sigaction
	info     [signalfdInfoSize]byte
	setSize  uintptr
}

func newChild(path string, args, env []string) (*child, error) {
	c := &child{setSize: sigsetSize(), parent: uintptr(os.Getpid())}
	for i := range c.all.Val {
		c.all.Val[i] = ^c.all.Val[i]
	}
	var usr1 unix.Sigset_t
	addSignal(&usr1, unix.SIGUSR1)
	fd, err := unix.Signalfd(-1, &usr1, unix.SFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("signalfd", err)
	}
	c.fds = [2]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: reportFD}}
	if c.path, err = syscall.BytePtrFromString(path); err != nil {
		return nil, err
	}
	if c.argv, err = syscall.SlicePtrFromStrings(args); err != nil {
		return nil, err
	}
	c.envp, err = syscall.SlicePtrFromStrings(env)
	return c, err
}

func addSignal(set *unix.Sigset_t, sig syscall.Signal) {
	bits := int(unsafe.Sizeof(set.Val[0])) * 8
	set.Val[(int(sig)-1)/bits] |= 1 << ((int(sig) - 1) % bits)
}

// fork forks a child that runs life, and returns its PID. The goroutine must be locked to its thread.
func (c *child) fork(life func(*child)) (selector.PID, error) {
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &c.all, &c.mask); err != nil {
		return 0, os.NewSyscallError("rt_sigprocmask", err)
	}
	pid, errno := c.clone(life)
	_ = unix.PthreadSigmask(unix.SIG_SETMASK, &c.mask, nil)
	_ = unix.Close(int(c.fds[0].Fd)) // the child has its own copy
	runtime.KeepAlive(c)
	if errno != 0 {
		return 0, os.NewSyscallError("clone", errno)
	}
	return selector.PID(pid), nil
}

// clone returns in the parent only.
//
//go:noinline
//go:norace
//go:nosplit
func (c *child) clone(life func(*child)) (uintptr, syscall.Errno) {
	flags, stack := uintptr(unix.SIGCHLD), uintptr(0)
	if runtime.GOARCH == "s390x" {
		flags, stack = stack, flags // CONFIG_CLONE_BACKWARDS2
	}
	pid, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, flags, stack, 0, 0, 0, 0)
	if pid == 0 && errno == 0 {
		life(c)
	}
	return pid, errno
}

// wait returns when a signal is pending or the timeout has passed. It ends the process when the lifeline breaks.
//
//go:norace
//go:nosplit
func (c *child) wait() {
	errno := unix.EINTR
	for errno != 0 {
		_, _, errno = syscall.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&c.fds)), c.watched,
			uintptr(unsafe.Pointer(c.timeout)), 0, 0, 0)
	}
	if c.fds[1].Revents != 0 {
		end(0)
	}
}

// takeSignal consumes a pending signal.
//
//go:norace
//go:nosplit
func (c *child) takeSignal() {
	_, _, _ = syscall.RawSyscall(unix.SYS_READ, uintptr(c.fds[0].Fd),
		uintptr(unsafe.Pointer(&c.info)), signalfdInfoSize)
}

// exec replaces the image. It returns only if that fails.
//
//go:norace
//go:nosplit
func (c *child) exec() {
	_, _, _ = syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK,
		uintptr(unsafe.Pointer(&c.mask)), 0, c.setSize, 0, 0)
	_, _, _ = syscall.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(c.path)),
		uintptr(unsafe.Pointer(unsafe.SliceData(c.argv))), uintptr(unsafe.Pointer(unsafe.SliceData(c.envp))))
}

//go:norace
//go:nosplit
func (c *child) write(line []byte) {
	_, _, _ = syscall.RawSyscall(unix.SYS_WRITE, reportFD, uintptr(unsafe.Pointer(unsafe.SliceData(line))), uintptr(len(line)))
}

//go:norace
//go:nosplit
func end(code uintptr) {
	for {
		_, _, _ = syscall.RawSyscall(unix.SYS_EXIT_GROUP, code, 0, 0)
	}
}

// writeNumber writes the PID of this process into the placeholder of its report. The daemon itself reports it, before
// anything else: after the end of the parent, the control side then knows whether there is a daemon, and which process
// it is.
//
//go:norace
//go:nosplit
func (c *child) writeNumber() {
	pid, _, _ := syscall.RawSyscall(unix.SYS_GETPID, 0, 0, 0)
	for i := len(c.number) - 1; i >= 0; i-- {
		c.number[i] = ' ' // spaces are valid there in JSON
		if pid != 0 {
			c.number[i] = '0' + byte(pid%10)
			pid /= 10
		}
	}
}

// liveAsDaemon runs in a server that has forked to become a daemon.
//
//go:norace
//go:nosplit
func liveAsDaemon(c *child) {
	c.writeNumber()
	c.write(c.lines[saysDaemonised])
	c.write(c.lines[saysArmed])
	for {
		c.wait()
		c.takeSignal()
		c.write(c.lines[saysSignalled])
		if c.needed--; c.needed != 0 {
			continue
		}
		if c.drain != nil {
			c.write(c.lines[saysDraining])
			_, _, _ = syscall.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(c.drain)), 0, 0)
		}
		c.write(c.lines[saysExec])
		c.exec()
		c.write(c.lines[saysExecFailed])
		end(exitExecFailed)
	}
}

// liveAsChild runs in a child that will exec another program. A signal ends it, as it would after the exec.
//
//go:norace
//go:nosplit
func liveAsChild(c *child) {
	_, _, _ = syscall.RawSyscall(unix.SYS_CLOSE, reportFD, 0, 0) // the lifeline of the server
	_, _, _ = syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0, 0)
	if now, _, _ := syscall.RawSyscall(unix.SYS_GETPPID, 0, 0, 0); now != c.parent {
		end(0) // the parent died before the call above
	}
	c.wait()
	_, _, _ = syscall.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGUSR1),
		uintptr(unsafe.Pointer(&c.defaults)), 0, c.setSize, pass, 0)
	c.exec() // a pending signal takes effect when it is unblocked
	end(exitExecFailed)
}
