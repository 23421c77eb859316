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

// mostThreads bounds how many threads of a process are asked for their system call: 6 ms in all (`explain` of a process
// with 1,000 sleeping threads against one with a single thread).
const maxThreads = 1 << 10

// readExecs finds out whether a thread of the process is inside execve. An exec waits there for all other threads to
// end (de_thread in fs/exec.c, Linux 6.12), which takes as long as one of them waits for a file system. Memory, image
// and handlers are the old ones until then, so nothing else shows it; a signal that is sent meanwhile stays pending,
// and kills when the exec has reset the handlers.
//
// It costs a few system calls a thread, so it is asked only of a process that would exec another file than it runs.
func (r *reader) readExecs() error {
	if !r.p.Target.Known() || r.p.TargetProblem != "" {
		return nil
	}
	if f, err := statAt(r.base(), "exe", 0); err != nil || f.Image == r.p.Target.Image {
		return gone(err)
	}
	task, err := unix.Openat(r.dir, "task", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return gone(err)
	}
	defer func() { _ = unix.Close(task) }()
	count := 0
	for tids, err := range PIDBatches(task) {
		if err != nil {
			return gone(err)
		}
		for _, tid := range tids {
			in, known := r.inExec(task, tid)
			if count++; in || !known || count == maxThreads {
				r.p.MidExec = in
				return nil
			}
		}
	}
	return nil
}

// inExec reports whether a thread is inside execve. told is false where the kernel does not say that of any thread of
// the process: to read the file takes the right to attach a debugger, which a user without CAP_SYS_PTRACE does not
// have where Yama forbids it (proc_pid_syscall in fs/proc/base.c, Linux 6.12), and CONFIG_HAVE_ARCH_TRACEHOOK.
// Such a process stays eligible: nothing would ever change that answer.
//
// A thread that runs says "running" in place of a number. It does not wait, so its exec is over soon.
func (r *reader) inExec(task int, tid selector.PID) (in, known bool) {
	number, err := syscallOf(task, tid)
	if err != nil {
		return false, errors.Is(err, ErrGone) && r.hasSyscall(task)
	}
	// A process of another architecture, as a 32-bit one on a 64-bit kernel, is no server of ours.
	return number == unix.SYS_EXECVE || number == unix.SYS_EXECVEAT, true
}

// syscallOf is the number of the system call that a thread sleeps in, -1 if it runs or sleeps in none.
func syscallOf(task int, tid selector.PID) (int, error) {
	path := make([]byte, 0, 32) // a number, a slash and a short name
	path = append(strconv.AppendInt(path, int64(tid), 10), "/syscall"...)
	var text [64]byte // the number comes first
	fd, err := openFile(task, string(path))
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

// hasSyscall tells a thread that has ended from a kernel without the file.
func (r *reader) hasSyscall(task int) bool {
	_, err := statAt(task, "../syscall", unix.AT_SYMLINK_NOFOLLOW)
	return err == nil
}
