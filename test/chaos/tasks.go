// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// maxTasks is the TasksMax of the unit. Go ends a program that gets no thread.
const maxTasks = 512

// tasks is a cgroup that limits the processes and threads of the service. An empty one limits nothing.
type tasks string

// newTasks makes the cgroup, where the host has the controller.
func newTasks() (tasks, error) {
	root := "/sys/fs/cgroup/pids"
	if _, err := os.Stat(root); err != nil {
		root = "/sys/fs/cgroup"
	}
	if root == "/sys/fs/cgroup" {
		enabled, _ := os.ReadFile(root + "/cgroup.subtree_control")
		if !bytes.Contains(enabled, []byte("pids")) {
			return "", nil
		}
	}
	dir, err := os.MkdirTemp(root, "chaos-")
	if errors.Is(err, os.ErrPermission) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("make a cgroup: %w", err)
	}
	return tasks(dir), os.WriteFile(filepath.Join(dir, "pids.max"), []byte(strconv.Itoa(maxTasks)), 0)
}

// add moves a process into the cgroup.
func (t tasks) add(pid int) error {
	if t == "" {
		return nil
	}
	return os.WriteFile(filepath.Join(string(t), "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
}

// end removes the cgroup, and returns what was used of the limit.
func (t tasks) end() string {
	if t == "" {
		return "no limit: the host has no cgroup for it"
	}
	peak, err := os.ReadFile(filepath.Join(string(t), "pids.peak"))
	if err != nil { // before Linux 6.1
		peak = []byte("unknown")
	}
	_ = os.Remove(string(t))
	return fmt.Sprintf("%s of %d", bytes.TrimSpace(peak), maxTasks)
}
