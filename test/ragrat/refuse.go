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

// refusing is the argument that makes this program exec another one to which the kernel refuses SIGUSR1.
const refusing = "refusing"

// refuse replaces the gate on kernels that have none. With seccomp(2) the kernel refuses kill(2) with SIGUSR1 to the
// command and to everything that it execs, with the error of the gate. To the command there is no difference.
func refuse(cmd *exec.Cmd) {
	cmd.Path, cmd.Args = "/proc/self/exe", append([]string{os.Args[0], refusing}, cmd.Args...)
}

// startRefusing execs the program args[0]. The offsets are those of struct seccomp_data (linux/seccomp.h).
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
	runtime.LockOSThread() // the filter belongs to the thread, which must be the one that execs
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
	if err != nil {
		return fmt.Errorf("refuse SIGUSR1: %w", err)
	}
	return syscall.Exec(args[0], args, os.Environ())
}
