// SPDX-License-Identifier: MIT

//go:build linux

package procfs

import (
	"bytes"
	"errors"
	"strconv"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

// maxThreads bounds how many threads of a process have their system calls read. That many take 6 ms (`explain` of a process with
// 1,000 sleeping threads, compared with one thread).
const maxThreads = 1 << 10

// readExecs finds out whether a thread of the process is inside execve. An exec waits there until all other threads have
// ended (de_thread in fs/exec.c, Linux 6.12), which takes as long as one of them waits for a file system.
//
// Memory, image and handlers are the old ones until then, so no other fact shows it. A signal that is sent meanwhile stays
// pending, and kills the process once the exec has reset the handlers.
//
// The check takes a few system calls for each thread. It is done only for a process that would exec another file than it runs.
func (r *reader) readExecs() error {
	if !r.p.Target.Known() || r.p.TargetProblem != "" || r.p.Image == r.p.Target.Image {
		return nil
	}
	for tid, err := range numbers(r.dir, "task", maxThreads) {
		if err != nil {
			return err
		}
		in, known := r.inExec(tid)
		if in || !known {
			r.p.MidExec = r.p.MidExec || in
			break
		}
	}
	return nil
}

// inExec reports whether a thread is inside execve. known is false where the kernel shows the system call of no thread. The
// file needs CONFIG_HAVE_ARCH_TRACEHOOK and the right to attach a debugger (proc_pid_syscall in fs/proc/base.c, Linux 6.12).
// A user without CAP_SYS_PTRACE does not have that right where Yama forbids it. Such a process stays eligible, because no
// later read would succeed.
//
// A running thread shows "running" in place of a number. It is not waiting, so an exec of it ends soon.
func (r *reader) inExec(tid selector.PID) (in, known bool) {
	number, err := syscallOf(r.dir, tid)
	if err != nil {
		return false, errors.Is(err, ErrGone) && r.hasSyscall()
	}
	// A process of another architecture, such as a 32-bit one on a 64-bit kernel, is not a server.
	return number == unix.SYS_EXECVE || number == unix.SYS_EXECVEAT, true
}

// syscallOf returns the number of the system call in which a thread of the process with the directory dir sleeps, or -1 if it
// runs or sleeps in none.
func syscallOf(dir int, tid selector.PID) (int, error) {
	var text [64]byte // the number comes first
	fd, err := openFile(dir, "task/"+tid.String()+"/syscall")
	if err != nil {
		return -1, err
	}
	defer func() { _ = unix.Close(fd) }()
	n, err := readOnce(fd, text[:])
	if err != nil {
		return -1, err
	}
	word, _, _ := bytes.Cut(text[:n], []byte{' '})
	number, err := strconv.Atoi(string(word))
	if err != nil {
		return -1, nil // "running"
	}
	return number, nil
}

// hasSyscall tells a thread that has ended from a kernel without /proc/PID/syscall.
func (r *reader) hasSyscall() bool {
	_, err := statAt(r.dir, "syscall", unix.AT_SYMLINK_NOFOLLOW)
	return err == nil
}
