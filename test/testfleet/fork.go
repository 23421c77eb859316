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

// A child that was forked and has not exec'd runs in a copy of a Go program of which only one
// thread is left: no scheduler, no collector, and locks held by threads that are not there. So its
// code makes nothing but raw system calls, on memory that was prepared before the fork, and has no
// place where the runtime could step in: it is nosplit (no growing stack, no preemption) and norace,
// and blocks all signals. package syscall does the same between fork and exec.

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

// numberPlace is as wide as the number of a process gets.
const (
	numberPlace = selector.PID(2147483647)
	numberWidth = 10
)

// child is all that a forked child needs.
type child struct {
	// fds are what it waits for: its SIGUSR1, as a signalfd, and the lifeline. watched is how many
	// of them count.
	fds     [2]unix.PollFd
	watched uintptr
	// timeout bounds the wait of a child that is about to exec; nil is for ever.
	timeout *unix.Timespec
	// needed is how many signals make a daemon exec; zero is that none does. drain is its time
	// between signal and exec.
	needed int
	drain  *unix.Timespec
	// mask is what the image to come shall have blocked; until then it is all.
	mask, all unix.Sigset_t
	// parent is the process without which a child shall not be.
	parent uintptr
	// path, argv and envp are for execve.
	path       *byte
	argv, envp []*byte
	// lines are a daemon's reports; number is the place of its number in the first.
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

// fork makes life the life of a forked child, and answers with its number. The goroutine must be
// locked to its thread.
func (c *child) fork(life func(*child)) (selector.PID, error) {
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &c.all, &c.mask); err != nil {
		return 0, os.NewSyscallError("rt_sigprocmask", err)
	}
	pid, errno := c.clone(life)
	_ = unix.PthreadSigmask(unix.SIG_SETMASK, &c.mask, nil)
	_ = unix.Close(int(c.fds[0].Fd)) // the child has its own
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

// wait returns when a signal is pending or the time is over. It does not return when the lifeline
// breaks.
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

// takeSignal makes a pending signal no longer pending.
//
//go:norace
//go:nosplit
func (c *child) takeSignal() {
	_, _, _ = syscall.RawSyscall(unix.SYS_READ, uintptr(c.fds[0].Fd),
		uintptr(unsafe.Pointer(&c.info)), signalfdInfoSize)
}

// exec replaces the image, or returns.
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

// writeNumber puts this process's number where its report has the place for it. The daemon reports
// itself, and does it first: whoever kills its parent knows then that there is no other process, or
// which one.
//
//go:norace
//go:nosplit
func (c *child) writeNumber() {
	pid, _, _ := syscall.RawSyscall(unix.SYS_GETPID, 0, 0, 0)
	for i := len(c.number) - 1; i >= 0; i-- {
		c.number[i] = ' ' // JSON has nothing against it
		if pid != 0 {
			c.number[i] = '0' + byte(pid%10)
			pid /= 10
		}
	}
}

// liveAsDaemon is the life of a server that forked to become a daemon.
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

// liveAsChild is the life of a child that will exec something else: a signal is the end of it, as
// it would be a moment later.
//
//go:norace
//go:nosplit
func liveAsChild(c *child) {
	_, _, _ = syscall.RawSyscall(unix.SYS_CLOSE, reportFD, 0, 0) // whose end is the server's
	_, _, _ = syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0, 0)
	if now, _, _ := syscall.RawSyscall(unix.SYS_GETPPID, 0, 0, 0); now != c.parent {
		end(0) // it died before the line above
	}
	c.wait()
	_, _, _ = syscall.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGUSR1),
		uintptr(unsafe.Pointer(&c.defaults)), 0, c.setSize, pass, 0)
	c.exec() // a signal that is pending takes effect at the unblocking
	end(exitExecFailed)
}
