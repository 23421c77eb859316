// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// refusing makes this program start another one whose SIGUSR1 to any process is refused.
const refusing = "refusing"

// refuse stands in for the gate where the kernel takes none: the kernel refuses kill(2) with SIGUSR1 of the command and of
// all that it execs (seccomp(2)), with the error of the gate. The command does not notice a difference.
func refuse(cmd *exec.Cmd) {
	cmd.Path, cmd.Args = "/proc/self/exe", append([]string{os.Args[0], refusing}, cmd.Args...)
}

// startRefusing becomes the program args[0]. The offsets are those of struct seccomp_data (linux/seccomp.h).
func startRefusing(args []string) error {
	const number, secondArgument = 0, 24
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: number},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_KILL, Jf: 3},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: secondArgument},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(unix.SIGUSR1), Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread() // the filter is the thread's, and the exec must be
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up new rights: %w", err)
	}
	err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
	if err != nil {
		return fmt.Errorf("refuse SIGUSR1: %w", err)
	}
	return syscall.Exec(args[0], args, os.Environ())
}
