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

// Offsets in struct linux_dirent64, include/linux/dirent.h.
const (
	direntReclen = 16
	direntName   = 19
	// shortestEntry is the size of one whose name has up to four bytes.
	minEntrySize = 24
)

// Numbers lists the entries of the directory fd that are numbers, which in /proc are the processes and
// below task the threads. fd is read from its current position to the end.
func PIDs(fd int) ([]selector.PID, error) {
	var all []selector.PID
	for some, err := range PIDBatches(fd) {
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

// NumbersInParts is Numbers for who begins with the first while the kernel lists the others: it answers with
// some hundred at a time, each time in a slice of its own. An error is the last answer.
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

// numbers are those among some entries.
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

// number is the value of a NUL-terminated decimal, or 0 for anything else.
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
