// SPDX-License-Identifier: MIT

// Package pidfd names a process by a file descriptor, and is the only code of this program that
// sends signals.
//
// A PID is used again after its process was reaped; a pidfd is not. Open it before anything about
// the process is read: if the process dies afterwards and its number goes to another one, the facts
// may be the other's, but the signal goes to the dead one and ends in [ErrGone]. There is no
// fallback to the number (os.FindProcess has one, which is why it is not used).
//
// A pidfd pins the process, not its image: it survives an exec, which resets the handlers. Whoever
// sends must have looked at the handler as late as possible.
//
// Needs Linux 5.3 (pidfd_open: commit 32fcb426ec00, "pid: add pidfd_open()").
package pidfd
