// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"bytes"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// walker is the servers' own trigger as a plain program: list /proc, stat the image of every process, read the
// command line of those that run another file, then the environment of those that match. It is as lean as that order
// allows: the list is not sorted, each file is opened, read and closed without anything between, and the buffers are
// reused.
type walker struct {
	name          []byte
	installed     unix.Stat_t
	entries, text []byte
}

func newWalker(install string) (*walker, error) {
	w := &walker{name: []byte(filepath.Base(install)), entries: make([]byte, 64<<10), text: make([]byte, 64<<10)}
	return w, unix.Stat(install, &w.installed)
}

// walk counts the outdated servers.
func (w *walker) walk() (found int, err error) {
	proc, err := unix.Open("/proc", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer func() { _ = unix.Close(proc) }()
	names := make([]string, 0, 4096)
	for {
		n, err := unix.ReadDirent(proc, w.entries)
		if err != nil {
			return 0, err
		}
		if n == 0 {
			break
		}
		_, _, names = unix.ParseDirent(w.entries[:n], -1, names)
	}
	for _, name := range names {
		if _, err := strconv.Atoi(name); err == nil && w.isOutdated(proc, name) {
			found++
		}
	}
	return found, nil
}

func (w *walker) isOutdated(proc int, pid string) bool {
	var image unix.Stat_t
	err := unix.Fstatat(proc, pid+"/exe", &image, 0)
	if err != nil || image.Dev == w.installed.Dev && image.Ino == w.installed.Ino {
		return false
	}
	return w.matches(w.read(proc, pid+"/cmdline")) && bytes.Contains(w.read(proc, pid+"/environ"), []byte(variable+"="))
}

// matches checks the name and the argument.
func (w *walker) matches(cmdline []byte) bool {
	argv0, rest, _ := bytes.Cut(cmdline, []byte{0})
	if !bytes.Equal(argv0[bytes.LastIndexByte(argv0, '/')+1:], w.name) {
		return false
	}
	for len(rest) > 0 {
		var arg []byte
		if arg, rest, _ = bytes.Cut(rest, []byte{0}); string(arg) == "mcp" {
			return true
		}
	}
	return false
}

// read returns the content of a file, which is valid until the next read. No process here has more text than the
// buffer holds.
func (w *walker) read(proc int, path string) []byte {
	fd, err := unix.Openat(proc, path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	n, err := unix.Read(fd, w.text)
	_ = unix.Close(fd)
	if err != nil {
		return nil
	}
	return w.text[:n]
}
