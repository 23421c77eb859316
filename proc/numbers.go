// SPDX-License-Identifier: MIT

//go:build linux

package proc

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

// Offsets in struct linux_dirent64, include/linux/dirent.h.
const (
	direntReclen = 16
	direntName   = 19
)

// Numbers appends the entries of the directory fd that are numbers, which in /proc are the
// processes and below task the threads. fd is read from its current position to the end.
func Numbers(fd int, pids []selector.PID) ([]selector.PID, error) {
	buf := make([]byte, 64<<10)
	for {
		n, err := unix.Getdents(fd, buf)
		if err != nil {
			return pids, fmt.Errorf("list processes: %w", err)
		}
		if n == 0 {
			return pids, nil
		}
		for entries := buf[:n]; len(entries) > direntName; {
			reclen := binary.NativeEndian.Uint16(entries[direntReclen:])
			if pid := number(entries[direntName:reclen]); pid > 0 {
				pids = append(pids, pid)
			}
			entries = entries[reclen:]
		}
	}
}

// number is the value of a NUL-terminated decimal, or 0 for anything else.
func number(name []byte) selector.PID {
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
