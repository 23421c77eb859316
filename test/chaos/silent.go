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
	"strings"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/test/testfleet"
)

// silentName is the folder among the hostile user's where a file system that never answers is mounted.
const silentName = "silent"

// control is where the kernel shows its FUSE file systems.
const control = "/sys/fs/fuse/connections"

// mountControl mounts it in this mount namespace, where the host has not.
func mountControl() error {
	if err := unix.Mount("fusectl", control, "fusectl", 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("mount %s: %w", control, err)
	}
	return nil
}

// silence mounts a file system that never answers, until release is called. release tells how many look-ups have waited
// for it.
func (a *arena) silence() (release func() (waiting int, err error), err error) {
	dir := filepath.Join(a.hostileDir, silentName)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	end, err := testfleet.MountSilent(dir)
	if err != nil {
		return nil, fmt.Errorf("mount a file system that never answers: %w", err)
	}
	return func() (int, error) {
		waiting, err := waitingAt(dir)
		return waiting, errors.Join(err, end())
	}, nil
}

// waitingAt returns how many look-ups wait for a FUSE file system. Its own first request has no answer, either.
func waitingAt(dir string) (int, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(mounts) {
		fields := strings.Fields(string(line))
		if fields[4] != dir {
			continue
		}
		_, minor, _ := strings.Cut(fields[2], ":")
		text, err := os.ReadFile(filepath.Join(control, minor, "waiting"))
		if err != nil {
			return 0, err
		}
		waiting, err := strconv.Atoi(strings.TrimSpace(string(text)))
		return max(0, waiting-1), err
	}
	return 0, fmt.Errorf("no mount at %q: %w", dir, os.ErrNotExist)
}
