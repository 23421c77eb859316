// SPDX-License-Identifier: MIT

// Package testfleet provides real servers that replace themselves on SIGUSR1, with every fault that such a server can
// have, for tests and demonstrations.
//
// The package has two sides. [Main] is the server side: a program that calls it first becomes a server if it was
// started as one. [Start], [Server], [Fleet] and [Install] are the control side, which starts copies of that program,
// follows their reports and ends them.
//
// A server reports on descriptor 3, one JSON line per [Event]; stdin, stdout and stderr stay free for its session. It
// lives no longer than the control process: the pipe behind descriptor 3 is its lifeline. The server ends when the read
// end is closed, so a killed control process leaves no server behind.
//
// Before a server is armed, and after each exec, the default action for SIGUSR1 is in force, as SigCgt in
// /proc/PID/status shows: a wrong signal ends it. Go's runtime installs a handler for every signal when it starts. A
// seccomp filter on the starting thread, which the server inherits, prevents that for SIGUSR1. Without seccomp, [Main]
// restores the default action, and a server seems armed for the milliseconds before.
//
// The control side is safe for concurrent use. Every function that waits takes a context. The package needs Linux 5.3
// (pidfd_open, commit 32fcb426ec00; polling a pidfd, commit b53b0b9d9a61), and root only for [Credential] and another
// root.
package testfleet
