// SPDX-License-Identifier: MIT

// Package testfleet has real servers that replace themselves on SIGUSR1, with every fault that such
// a server can have, for tests and for demonstrations.
//
// There are two sides. [Main] is the server: a program that calls it first thing becomes one when
// it was started as one. [Start], [Server], [Fleet] and [Install] are the control side, which
// starts copies of that program, follows what they report and ends them.
//
// A server reports on descriptor 3, one JSON line per [Event]; stdin, stdout and stderr stay free
// for its session. It lives no longer than the control process: the pipe behind descriptor 3 is its
// lifeline, and it ends when nobody reads there any more, so that even a killed control process
// leaves nothing behind.
//
// Before a server is armed, and after each exec, the default action for SIGUSR1 is in force, as the
// kernel sees it (SigCgt in /proc/PID/status): a wrong signal ends it. Go's runtime installs a
// handler for every signal as it starts; a seccomp filter on the starting thread, which the server
// inherits, turns that one away. Where seccomp is not to be had, the default is restored as soon as
// [Main] runs, and a server seems armed for the milliseconds before.
//
// The control side is safe for concurrent use. Everything that waits takes a context. All of it is
// for Linux 5.3 and later (pidfd_open, commit 32fcb426ec00; polling a pidfd, commit b53b0b9d9a61),
// and needs root only for [Credential] and a changed root.
package testfleet
