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

// asInit starts the arena, and reaps whoever loses its parent in it.
func asInit(text string) (code int) {
	signal.Ignore(os.Interrupt, unix.SIGHUP) // the arena hears them, too
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
	if c.FewNumbers {
		if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
			return 0, fmt.Errorf("mount /proc: %w", err)
		}
		if err := limitNumbers(c.numbers()); err != nil {
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

// numbers is how many there are for so many servers, whose threads take them, too: what is left is used up
// every few seconds.
func (c config) numbers() int { return 512 + 8*c.Servers }

// limitNumbers has the namespace run out of numbers quickly, from Linux 6.14 on, where the limit is the
// namespace's own (kernel/pid_namespace.c); before, it is the host's, which keeps it.
func limitNumbers(most int) error {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return err
	}
	if !limitsNumbers(unix.ByteSliceToString(name.Release[:])) {
		fmt.Fprintln(os.Stderr, "chaos: before Linux 6.14 the numbers of a namespace cannot be limited")
		return nil
	}
	return os.WriteFile(pidMax, []byte(strconv.Itoa(most)), 0)
}

// limitsNumbers is for the name of a kernel's release.
func limitsNumbers(release string) bool {
	major, rest, _ := strings.Cut(release, ".")
	minor, _, _ := strings.Cut(rest, ".")
	first, _ := strconv.Atoi(major)
	second, _ := strconv.Atoi(minor)
	return first > 6 || first == 6 && second >= 14
}

// limited says whether there are so few numbers indeed.
func (c config) limited() bool {
	text, err := os.ReadFile(pidMax)
	return err == nil && strings.TrimSpace(string(text)) == strconv.Itoa(c.numbers())
}
