// SPDX-License-Identifier: MIT

//go:build linux

// Command init is the first process of a kernel that is tested: it runs what [guest.PlanFile] says, writes
// what became of it to the console, and turns the machine off.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/kernels/guest"
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
	if err := takeAway(plan.Without); err != nil {
		return fmt.Errorf("take away %s: %w", plan.Without, err)
	}
	for _, s := range plan.Steps {
		result, err := json.Marshal(perform(s))
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

// takeAway makes the kernel one that has less.
func takeAway(what string) error {
	switch what {
	case "btf":
		return mount("tmpfs", "/sys/kernel/btf")
	case "bpf": // for this process, and so for all that it starts
		for _, c := range []uintptr{unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_SYS_ADMIN} {
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
				return err
			}
		}
	}
	return nil
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
