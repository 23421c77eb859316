// SPDX-License-Identifier: MIT

// Package pidfd pins a process by a file descriptor. No other package of this program sends signals to servers.
//
// A PID is used again after its process was reaped; a pidfd is not. Open the pidfd before reading any fact of the process. If
// the process ends afterwards and its PID is reused, the facts may be those of the next process. The signal then still goes to
// the first one, and fails with [ErrGone]. There is no fallback to the PID. os.FindProcess has one, so it is not used.
//
// A pidfd pins the process, not its image. It survives an exec, which resets the handlers: read the handler right before the
// signal.
//
// Needs Linux 5.3 (pidfd_open: commit 32fcb426ec00, "pid: add pidfd_open()").
package pidfd
