// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// disposition is what a process does with SIGUSR1.
type disposition string

const (
	caught  disposition = "handler"
	ignored disposition = "ignored"
	fatal   disposition = "fatal"
	ended   disposition = "the server exits"
)

// dispositionOf reads SigCgt and SigIgn of a process (proc_pid_status(5)).
func dispositionOf(pid int) disposition {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return ended
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		mask, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
		if err != nil || mask&(1<<(syscall.SIGUSR1-1)) == 0 {
			continue
		}
		switch name {
		case "SigCgt":
			return caught
		case "SigIgn":
			return ignored
		}
	}
	return fatal
}

// watches says whether a process watches a folder through inotify, as the server of a worktree does that has
// been elected to signal the others (proc_pid_fdinfo(5)).
func watches(pid int, dir image) bool {
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
