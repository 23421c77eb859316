// SPDX-License-Identifier: MIT

// Package procfs reads the facts of one process from /proc. All paths start at [FS], a mounted proc file system.
//
// A process may end between any two reads. Every function fails with [ErrGone] then, and never returns a zero value without
// an error. A fact that cannot be read is not an error: selector.Process.Unreadable names it.
//
// The arguments, the environment and the paths of a process are chosen by its user. Reads of them are bounded, and paths are
// resolved in the root of the process without magic links. No file that they name is opened for reading or executed.
//
// An FS is safe for concurrent use. Only [FS.Cmdline] can block for as long as a process or a file system below its root does
// not answer. Every other function gives up after a timeout, and reports the fact as unreadable.
//
// Needs Linux 5.6 (openat2: commit fddb5d430ad9, "open: introduce openat2(2) syscall").
package procfs
