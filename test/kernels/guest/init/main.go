// SPDX-License-Identifier: MIT

//go:build linux

// Command init is the first process of a tested kernel. It runs the steps of [guest.PlanFile], writes their results
// to the console, and turns the machine off.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/test/kernels/guest"
)

func main() {
	if err := run(); err != nil {
		fmt.Println("init:", err)
	}
	unix.Sync()
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		fmt.Println("init: power off:", err)
	}
}

func run() error {
	for _, m := range []struct{ kind, at string }{{"proc", "/proc"}, {"sysfs", "/sys"}, {"tmpfs", "/tmp"}, {"devtmpfs", "/dev"}} {
		if err := mount(m.kind, m.at); err != nil {
			return err
		}
	}
	_ = mount("securityfs", "/sys/kernel/security") // has the list of LSMs, if the kernel has any
	if err := os.Chmod("/tmp", 0o1777); err != nil {
		return err
	}
	text, err := os.ReadFile(guest.PlanFile)
	if err != nil {
		return err
	}
	var plan guest.Plan
	if err := json.Unmarshal(text, &plan); err != nil {
		return fmt.Errorf("parse %s: %w", guest.PlanFile, err)
	}
	if err := remove(plan.Without); err != nil {
		return fmt.Errorf("remove %s: %w", plan.Without, err)
	}
	for _, s := range plan.Steps {
		fmt.Println("init:", s.Name) // the last one on a console is the one that hangs
		result, err := json.Marshal(repeat(s))
		if err != nil {
			return err
		}
		fmt.Printf("\n%s%s\n", guest.Mark, result)
	}
	return nil
}

func mount(kind, at string) error {
	if err := os.MkdirAll(at, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(kind, at, kind, 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("mount %s at %s: %w", kind, at, err)
	}
	return nil
}

// remove takes something away from the kernel.
func remove(what string) error {
	switch what {
	case "":
		return nil
	case "btf":
		return mount("tmpfs", "/sys/kernel/btf")
	case "bpf":
		return refuseBPF()
	}
	return errors.New("unknown")
}

// refuseBPF makes the system call fail with EPERM for all threads and children of this process, as the seccomp
// profiles of container runtimes do. Dropping capabilities is not enough: CAP_SYS_ADMIN allows BPF, and the tests
// need it to mount.
func refuseBPF() error {
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // nr of struct seccomp_data
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: unix.SYS_BPF},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	// Without the flag the filter would apply to one thread, and another may start a step.
	failed, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC,
		uintptr(unsafe.Pointer(&program)))
	switch {
	case errno != 0:
		return os.NewSyscallError("seccomp", errno)
	case failed != 0:
		return fmt.Errorf("seccomp: thread %d has a filter of its own", failed)
	}
	return nil
}

// repeat performs a step until it passes or has had all its tries.
func repeat(s guest.Step) guest.Result {
	var before []guest.Result
	for {
		r := perform(s)
		if r.Failure == "" || len(before)+1 >= s.Tries {
			r.Before = before
			return r
		}
		before = append(before, r)
	}
}

func perform(s guest.Step) guest.Result {
	cmd := exec.Command(s.Args[0], s.Args[1:]...)
	cmd.Env = append([]string{"PATH=/bin", "HOME=/tmp", "TMPDIR=/tmp"}, s.Env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	begin := time.Now()
	err := cmd.Run()
	r := guest.Result{Name: s.Name, Output: out.String(), Took: time.Since(begin)}
	if err != nil {
		r.Failure = err.Error()
	}
	return r
}
