// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// runInit starts the arena and reaps orphans.
func runInit(text string) (code int) {
	signal.Ignore(os.Interrupt, unix.SIGHUP) // the arena gets them, too
	end := make(chan os.Signal, 1)
	signal.Notify(end, unix.SIGTERM)
	pid, err := startArena(text)
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return 1
	}
	go func() {
		<-end
		_ = unix.Kill(pid, unix.SIGTERM)
	}()
	for {
		var status unix.WaitStatus
		ended, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case err == nil && ended == pid:
			if status.Signaled() {
				return 1
			}
			return status.ExitStatus()
		case err != nil && err != unix.EINTR:
			return 1
		}
	}
}

func startArena(text string) (pid int, err error) {
	var c config
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return 0, err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return 0, fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return 0, err
	}
	if c.FewPIDs {
		if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
			return 0, fmt.Errorf("mount /proc: %w", err)
		}
		if err := limitPIDs(c.pids()); err != nil {
			return 0, err
		}
	}
	process, err := os.StartProcess("/proc/self/exe", []string{os.Args[0], "arena", text}, &os.ProcAttr{
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
		Sys:   &syscall.SysProcAttr{Pdeathsig: unix.SIGTERM},
	})
	if err != nil {
		return 0, err
	}
	return process.Pid, nil
}

const pidMax = "/proc/sys/kernel/pid_max"

// pids is the number of PIDs of a namespace for the number of servers. Their threads need PIDs as well, and a Go program that
// gets no thread ends. The hostile user has its own PIDs. The churn uses up the rest every few seconds.
func (c config) pids() int { return 512 + 2*hostileTasks + 9*c.Servers }

// limitPIDs makes the PIDs of the namespace run out quickly. The limit belongs to the namespace since Linux 6.14
// (kernel/pid_namespace.c). Before, it belongs to the host and is left alone.
func limitPIDs(most int) error {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return err
	}
	if !canLimitPIDs(unix.ByteSliceToString(name.Release[:])) {
		fmt.Fprintln(os.Stderr, "chaos: before Linux 6.14 the PIDs of a namespace cannot be limited")
		return nil
	}
	return os.WriteFile(pidMax, []byte(strconv.Itoa(most)), 0)
}

// canLimitPIDs reports whether a kernel release has a limit for each namespace.
func canLimitPIDs(release string) bool {
	major, rest, _ := strings.Cut(release, ".")
	minor, _, _ := strings.Cut(rest, ".")
	first, _ := strconv.Atoi(major)
	second, _ := strconv.Atoi(minor)
	return first > 6 || first == 6 && second >= 14
}

// limited reports whether the limit is in force.
func (c config) limited() bool {
	text, err := os.ReadFile(pidMax)
	return err == nil && strings.TrimSpace(string(text)) == strconv.Itoa(c.pids())
}
