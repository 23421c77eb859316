// SPDX-License-Identifier: MIT

//go:build linux

package procfs

import "golang.org/x/sys/unix"

// isArchIdleSyscall has the system calls that newer architectures lack.
func isArchIdleSyscall(number int) bool {
	switch number {
	case unix.SYS_EPOLL_WAIT, unix.SYS_POLL, unix.SYS_SELECT, unix.SYS_PAUSE:
		return true
	}
	return false
}
