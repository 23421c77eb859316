// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/test/ragrat/agents"
)

// opens counts what the servers' own trigger does and what makes it fire: opens of the folder /proc, with which each
// walk begins, and opens of the installed file, of which each exec is one. The kernel tells of both (fanotify(7)).
type opens struct {
	fd   *os.File
	proc agents.Image
	path string

	mu sync.Mutex
	// walks are when a process opened /proc.
	walks map[int][]time.Time
	files int
}

// countOpens counts until it is closed.
func countOpens(path string) (*opens, error) {
	proc, err := agents.ImageAt("/proc")
	if err != nil {
		return nil, err
	}
	fd, err := unix.FanotifyInit(unix.FAN_CLOEXEC|unix.FAN_NONBLOCK|unix.FAN_UNLIMITED_QUEUE, unix.O_RDONLY|unix.O_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("count opens: %w", err)
	}
	o := &opens{fd: os.NewFile(uintptr(fd), "fanotify"), proc: proc, path: path, walks: make(map[int][]time.Time)}
	err = errors.Join(
		unix.FanotifyMark(fd, unix.FAN_MARK_ADD, unix.FAN_OPEN|unix.FAN_ONDIR, unix.AT_FDCWD, "/proc"),
		unix.FanotifyMark(fd, unix.FAN_MARK_ADD, unix.FAN_OPEN|unix.FAN_EVENT_ON_CHILD, unix.AT_FDCWD, filepath.Dir(path)),
	)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("count opens: %w", err), o.close())
	}
	go o.follow()
	return o, nil
}

func (o *opens) close() error { return o.fd.Close() }

func (o *opens) follow() {
	buffer := make([]byte, 64<<10)
	for {
		n, err := o.fd.Read(buffer)
		if err != nil {
			return
		}
		for text := buffer[:n]; len(text) > 0; {
			// struct fanotify_event_metadata of linux/fanotify.h
			length := binary.NativeEndian.Uint32(text)
			fd, pid := int32(binary.NativeEndian.Uint32(text[16:])), int32(binary.NativeEndian.Uint32(text[20:]))
			o.take(int(fd), int(pid))
			text = text[length:]
		}
	}
}

// take counts one open, of which the kernel hands over a descriptor.
func (o *opens) take(fd, pid int) {
	defer func() { _ = unix.Close(fd) }()
	opened := fmt.Sprintf("/proc/self/fd/%d", fd)
	what, err := agents.ImageAt(opened)
	if err != nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if what == o.proc {
		o.walks[pid] = append(o.walks[pid], time.Now())
		return
	}
	if name, err := os.Readlink(opened); err == nil && name == o.path {
		o.files++
	}
}

// since are the walks of some processes after a moment: how many, by how many processes, and when the last began.
func (o *opens) since(begin time.Time, pids []int) (walks, walkers int, last time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, pid := range pids {
		walked := 0
		for _, at := range o.walks[pid] {
			if at.After(begin) {
				walked++
				last = later(last, at)
			}
		}
		walks += walked
		walkers += min(walked, 1)
	}
	return walks, walkers, last
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// ofFile is how often the installed file was opened so far.
func (o *opens) ofFile() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.files
}
