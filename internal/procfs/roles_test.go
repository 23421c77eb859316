// SPDX-License-Identifier: MIT

//go:build linux

package procfs_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/procfs"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
)

// waitForEnd returns when the test closes our stdin, or ends.
func waitForEnd() { _, _ = io.Copy(io.Discard, os.Stdin) }

func play(role, argument string) error {
	switch role {
	case "armed": // Go has handlers for all signals
		return nil
	case "deaf":
		return setDefault(unix.SIGUSR1)
	case "leaderless":
		go func() {
			fmt.Println("ready")
			waitForEnd()
			os.Exit(0)
		}()
		_, _, errno := syscall.Syscall(syscall.SYS_EXIT, 0, 0, 0)
		return errno
	case "fork":
		return forkPaused(argument)
	case "chroot":
		return syscall.Chroot(argument)
	case "chroot later":
		if err := awaitGo(); err != nil {
			return err
		}
		return syscall.Chroot("/proc")
	case "exec":
		return execShell()
	case "exec other":
		return execOther()
	case "exec again":
		return execAgain()
	case "user":
		return becomeUser()
	case "groups":
		return haveGroups(argument)
	case "silent arguments":
		return testfleet.SilenceArguments(argument)
	case "silent environment":
		return testfleet.SilenceEnvironment(argument)
	case "endless arguments":
		return testfleet.EndlessArguments("rag-rat")
	case "endless environment":
		return testfleet.EndlessEnvironment()
	case "apart":
		return makeUserNamespace(argument)
	case "inspect":
		return printInspection(argument)
	case "inspect unprivileged":
		return inspectUnprivileged(argument)
	}
	return fmt.Errorf("no role %q", role)
}

// setDefault resets Go's handler without the knowledge of its runtime.
func setDefault(sig unix.Signal) error {
	var action [64]byte // a struct sigaction of any architecture; all zeros is SIG_DFL
	_, _, errno := syscall.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig),
		uintptr(unsafe.Pointer(&action[0])), 0, 8, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// forkPaused forks a sibling that does not exec, and prints its PID. With an argument the sibling
// stands in the exec of that file.
func forkPaused(argument string) error {
	file, err := syscall.BytePtrFromString(argument)
	if err != nil {
		return err
	}
	child, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, unix.CLONE_PARENT|uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 {
		return errno
	}
	if child == 0 && argument != "" { // only raw system calls from here on: the runtime's other threads are not here
		_, _, _ = syscall.RawSyscall6(unix.SYS_EXECVE, uintptr(unsafe.Pointer(file)), 0, 0, 0, 0, 0)
	}
	for child == 0 {
		_, _, _ = syscall.RawSyscall6(unix.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
	}
	fmt.Println(child)
	return nil
}

func becomeUser() error {
	if err := syscall.Setgroups([]int{7, 8}); err != nil {
		return err
	}
	if err := syscall.Setresgid(11, 12, 13); err != nil {
		return err
	}
	return syscall.Setresuid(21, 22, 23)
}

// haveGroups becomes a user with a number of groups, each of ten digits.
func haveGroups(argument string) error {
	count, err := strconv.Atoi(argument)
	if err != nil {
		return err
	}
	groups := make([]int, count)
	for i := range groups {
		groups[i] = 4_000_000_000 + i
	}
	return errors.Join(syscall.Setgroups(groups), syscall.Setresuid(4242, 4242, 4242))
}

// makeUserNamespace becomes a user, creates a user namespace as that user, starts a process in it, and prints its PID.
func makeUserNamespace(argument string) error {
	user, err := strconv.Atoi(argument)
	if err != nil {
		return err
	}
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setresgid(user, user, user), syscall.Setresuid(user, user, user)); err != nil {
		return err
	}
	child, err := os.StartProcess("/proc/self/exe", []string{"rag-rat", "mcp"}, &os.ProcAttr{
		Env: append(os.Environ(), roleVariable+"=armed"), Files: []*os.File{os.Stdin, nil, os.Stderr},
		Sys: &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	fmt.Println(child.Pid)
	waitForEnd()
	return child.Kill()
}

// inspectUnprivileged prints the facts that a user without capabilities can read of a process.
func inspectUnprivileged(argument string) error {
	if err := syscall.Setgroups(nil); err != nil {
		return err
	}
	if err := syscall.Setresuid(65534, 65534, 65534); err != nil {
		return err
	}
	return printInspection(argument)
}

// printInspection prints the facts that this process can read of another one.
func printInspection(argument string) error {
	fs, err := procfs.NewFS("/proc")
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(argument)
	if err != nil {
		return err
	}
	p, err := fs.Inspect(selector.PID(pid), query())
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(p)
}
