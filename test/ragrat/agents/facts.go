// SPDX-License-Identifier: MIT

//go:build linux

package agents

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Disposition is what a process does with SIGUSR1.
type Disposition string

// What a process can do with it.
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

// Watches says whether a process watches a folder through inotify, as the server of a worktree does that has
// been elected to signal the others (proc_pid_fdinfo(5)).
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
