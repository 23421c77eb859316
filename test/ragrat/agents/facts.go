// SPDX-License-Identifier: MIT

//go:build linux

package agents

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Disposition is what a process does with SIGUSR1.
type Disposition string

// The dispositions, and the word for a server that has ended.
const (
	Caught  Disposition = "handler"
	Ignored Disposition = "ignored"
	Fatal   Disposition = "fatal"
	Exited  Disposition = "the server exits"
)

// DispositionOf reads SigCgt and SigIgn of a process (proc_pid_status(5)).
func DispositionOf(pid int) Disposition {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return Exited
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		mask, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
		if err != nil || mask&(1<<(syscall.SIGUSR1-1)) == 0 {
			continue
		}
		switch name {
		case "SigCgt":
			return Caught
		case "SigIgn":
			return Ignored
		}
	}
	return Fatal
}

// Watches reports whether a process watches a folder through inotify (proc_pid_fdinfo(5)). The elected server of a
// worktree, which signals the others, watches the folder of the installed file.
func Watches(pid int, dir Image) bool {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
	want := fmt.Sprintf(" ino:%x ", dir.ino)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // closed since
		}
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "inotify wd:") && strings.Contains(line, want) {
				return true
			}
		}
	}
	return false
}

// NotArmed names a living server of sessions that has no handler for SIGUSR1. It is empty if there is none.
func NotArmed(sessions []*Session) string {
	for _, s := range sessions {
		if !s.Gone() && DispositionOf(s.PID()) != Caught {
			return fmt.Sprintf("server %d has no handler for SIGUSR1", s.PID())
		}
	}
	return ""
}

// NotElected names a worktree with a living server of sessions in which no server of candidates watches the folder of
// the installed file. It is empty if there is none.
func NotElected(sessions, candidates []*Session) string {
	for _, s := range sessions {
		folder := filepath.Dir(s.Installed)
		watched, err := ImageAt(folder)
		if err != nil {
			return err.Error()
		}
		if !s.Gone() && !slices.ContainsFunc(candidates, func(c *Session) bool {
			return c.Dir == s.Dir && Watches(c.PID(), watched)
		}) {
			return fmt.Sprintf("no server in %s watches %s", s.Dir, folder)
		}
	}
	return ""
}

// ProcessorTime returns the processor time that a process has used so far.
func ProcessorTime(pid int) (time.Duration, error) {
	const cpuclockSched = 2 // include/linux/posix-timers.h
	var used unix.Timespec
	err := unix.ClockGettime(int32(^pid<<3|cpuclockSched), &used)
	return time.Duration(used.Nano()), err
}
