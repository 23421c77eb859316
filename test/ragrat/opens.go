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

// openCounter counts the acts of the servers' own trigger and their causes. An open of the folder /proc begins each
// walk. An open of the installed file, as by an exec, makes the trigger fire. fanotify(7) reports both.
type openCounter struct {
	fd   *os.File
	proc agents.Image
	path string

	mu sync.Mutex
	// walks are the times at which a process opened /proc.
	walks map[int][]time.Time
	files int
}

// countOpens starts a counter, which counts until it is closed.
func countOpens(path string) (*openCounter, error) {
	proc, err := agents.ImageAt("/proc")
	if err != nil {
		return nil, err
	}
	fd, err := unix.FanotifyInit(unix.FAN_CLOEXEC|unix.FAN_NONBLOCK|unix.FAN_UNLIMITED_QUEUE, unix.O_RDONLY|unix.O_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("count opens: %w", err)
	}
	o := &openCounter{fd: os.NewFile(uintptr(fd), "fanotify"), proc: proc, path: path, walks: make(map[int][]time.Time)}
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

func (o *openCounter) close() error { return o.fd.Close() }

func (o *openCounter) follow() {
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
			o.count(int(fd), int(pid))
			text = text[length:]
		}
	}
}

// count counts the open of the file behind a descriptor that the kernel has made for this event.
func (o *openCounter) count(fd, pid int) {
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

// walksSince returns the walks of some processes after a moment: their number, the number of processes that walked,
// and the start of the last walk.
func (o *openCounter) walksSince(begin time.Time, pids []int) (walks, walkers int, last time.Time) {
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

// fileOpens returns how often the installed file has been opened so far.
func (o *openCounter) fileOpens() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.files
}
