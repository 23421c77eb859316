// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
)

// quiet is the result of a quiet phase.
type quiet struct {
	After string
	// Held counts armed servers, which had to run the installed file. Leaderless counts those without a main thread.
	Held, Leaderless int
}

func (q quiet) String() string {
	return fmt.Sprintf("%s: %d servers, %d of them without a main thread", q.After, q.Held, q.Leaderless)
}

// behind counts the armed servers and names those that do not run the installed file. The image of every living
// server must be readable.
func (f *fleet) behind() (q quiet, left []old) {
	f.removeEnded()
	for _, m := range f.snapshot() {
		if !m.armed() {
			continue
		}
		q.Held++
		if m.behaviour.LeaderExits {
			q.Leaderless++
		}
		runs, installed, err := m.images()
		switch {
		case err != nil && !m.ended():
			left = append(left, old{m.PID(), fmt.Sprintf("%d with an unreadable image: %v", m.PID(), err)})
		case err == nil && runs != installed:
			left = append(left, old{m.PID(), fmt.Sprintf("%d, which runs %s in generation %d instead of %s at %s",
				m.PID(), runs, m.Generation(), installed, m.install.path())})
		}
	}
	return q, left
}

// outdated counts the servers that do not run the installed file for any reason.
func (f *fleet) outdated() (n int) {
	for _, m := range f.snapshot() {
		if runs, installed, err := m.images(); err == nil && runs != installed {
			n++
		}
	}
	return n
}

// images returns the image that the server runs and the one that it would exec.
func (m *member) images() (runs, installed selector.Image, err error) {
	if installed, err = m.install.image(); err != nil {
		return runs, installed, err
	}
	runs, err = imageOf(m.PID())
	return runs, installed, err
}

// imageOf reads all threads: a main thread that has ended shows no image, while the others run on.
func imageOf(pid selector.PID) (selector.Image, error) {
	process := "/proc/" + pid.String()
	image, err := imageAt(process + "/exe")
	if err == nil {
		return image, nil
	}
	threads, _ := filepath.Glob(process + "/task/*/exe")
	for _, path := range threads {
		if image, err := imageAt(path); err == nil {
			return image, nil
		}
	}
	return image, fmt.Errorf("stat the image of process %s: %w", pid, err)
}

func (m *member) ended() bool {
	select {
	case <-m.Exited():
		return true
	default:
		return false
	}
}

// armed reports whether the server has its handler in this generation and will upgrade at a signal.
func (m *member) armed() bool {
	armed := false
	for _, e := range m.Events() {
		switch e.Kind {
		case testfleet.Started:
			armed = false
		case testfleet.Armed:
			armed = true
		}
	}
	return armed && !m.behaviour.Ignore
}

// named returns the processes with the command line of a server.
func named() map[int]bool {
	all := map[int]bool{}
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, process := range processes {
		if pid, err := strconv.Atoi(filepath.Base(process)); err == nil && looksLikeServer(process) {
			all[pid] = true
		}
	}
	return all
}

// looksLikeServer reads all threads: the main thread may have ended.
func looksLikeServer(process string) bool {
	threads, _ := filepath.Glob(process + "/task/*/cmdline")
	for _, path := range threads {
		cmdline, _ := os.ReadFile(path)
		if args := strings.Split(string(cmdline), "\x00"); filepath.Base(args[0]) == testfleet.Name && slices.Contains(args, "mcp") {
			return true
		}
	}
	return false
}
