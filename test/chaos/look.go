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

// quiet is how a quiet ended.
type quiet struct {
	After string
	// Held servers were armed, and had to run what is installed; Leaderless ones of them have no main thread.
	Held, Leaderless int
}

func (q quiet) String() string {
	return fmt.Sprintf("%s: %d servers, %d of them without a main thread", q.After, q.Held, q.Leaderless)
}

// behind counts who is armed, and says who of them does not run what is installed. Of whoever lives it must be
// possible to tell.
func (f *fleet) behind() (q quiet, names []string) {
	f.bury()
	for _, m := range f.everybody() {
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
			names = append(names, fmt.Sprintf("%d, of which cannot be told what it runs: %v", m.PID(), err))
		case err == nil && runs != installed:
			names = append(names, fmt.Sprintf("%d, which runs %s of generation %d, and not %s at %s",
				m.PID(), runs, m.Generation(), installed, m.install.path()))
		}
	}
	return q, names
}

// outdated is how many do not run what is installed, for whatever reason.
func (f *fleet) outdated() (n int) {
	for _, m := range f.everybody() {
		if runs, installed, err := m.images(); err == nil && runs != installed {
			n++
		}
	}
	return n
}

// images are what the server runs, and what it would exec.
func (m *member) images() (runs, installed selector.Image, err error) {
	if installed, err = m.install.image(); err != nil {
		return runs, installed, err
	}
	runs, err = imageOf(m.PID())
	return runs, installed, err
}

// imageOf asks all threads: a main thread that has ended shows nothing, while the others run on.
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
	return image, fmt.Errorf("stat what process %s runs: %w", pid, err)
}

func (m *member) ended() bool {
	select {
	case <-m.Exited():
		return true
	default:
		return false
	}
}

// armed says whether the server has its handler in this generation and will upgrade when asked.
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

// named are the processes that call themselves servers.
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

// looksLikeServer asks all threads: the main thread may have ended.
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
