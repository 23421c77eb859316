// SPDX-License-Identifier: MIT

//go:build linux

package sys

import (
	"time"

	"golang.org/x/sys/unix"
)

// WaitFor waits until done is closed, for at most limit. It reports whether done was closed.
func WaitFor(done <-chan struct{}, limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// HasEnded reports whether the process of a pidfd has ended. A pidfd becomes readable then (pidfd_poll, commit
// b53b0b9d9a61, Linux 5.3). HasEnded does not block.
func HasEnded(pidfd int) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, 0)
	return err == nil && n > 0
}
