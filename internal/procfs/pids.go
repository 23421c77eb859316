// SPDX-License-Identifier: MIT

//go:build linux

package procfs

import (
	"encoding/binary"
	"fmt"
	"iter"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

// Offsets in struct linux_dirent64 of include/linux/dirent.h.
const (
	direntReclen = 16
	direntName   = 19
	// minEntrySize is the size of an entry with a name of up to four bytes.
	minEntrySize = 24
)

// PIDBatches lists the numeric entries of the directory fd: the processes in /proc, the threads in a task directory. It reads
// fd from its current position to the end. Each batch is a new slice with some hundred entries, so the first can be used
// while the kernel lists the rest. An error ends the iteration.
func PIDBatches(fd int) iter.Seq2[[]selector.PID, error] {
	return func(yield func([]selector.PID, error) bool) {
		buf := make([]byte, 4<<10)
		for {
			n, err := unix.Getdents(fd, buf)
			if err != nil {
				yield(nil, fmt.Errorf("list processes: %w", err))
				return
			}
			if n == 0 || !yield(parsePIDs(buf[:n]), nil) {
				return
			}
		}
	}
}

// numbers lists the numeric entries of the directory name below dir, most of them at most: the threads in "task", the
// descriptors in "fd". An error ends the iteration.
func numbers(dir int, name string, most int) iter.Seq2[selector.PID, error] {
	return func(yield func(selector.PID, error) bool) {
		fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			yield(0, gone(err))
			return
		}
		defer func() { _ = unix.Close(fd) }()
		for some, err := range PIDBatches(fd) {
			if err != nil {
				yield(0, gone(err))
				return
			}
			for _, n := range some[:min(len(some), most)] {
				if !yield(n, nil) {
					return
				}
			}
			if most -= len(some); most <= 0 {
				return
			}
		}
	}
}

// parsePIDs returns the numeric names in a buffer of entries.
func parsePIDs(entries []byte) []selector.PID {
	pids := make([]selector.PID, 0, len(entries)/minEntrySize)
	for len(entries) > direntName {
		reclen := binary.NativeEndian.Uint16(entries[direntReclen:])
		if pid := parsePID(entries[direntName:reclen]); pid > 0 {
			pids = append(pids, pid)
		}
		entries = entries[reclen:]
	}
	return pids
}

// parsePID returns the value of a NUL-terminated decimal number, or 0 for any other name.
func parsePID(name []byte) selector.PID {
	var n selector.PID
	for _, c := range name {
		if c == 0 {
			return n
		}
		if c < '0' || c > '9' {
			return 0
		}
		n = 10*n + selector.PID(c-'0')
	}
	return n
}
