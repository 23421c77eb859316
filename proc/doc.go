// SPDX-License-Identifier: MIT

// Package proc reads what /proc says about one process. All paths go through [FS], the mount point
// as a value.
//
// A process may vanish between any two reads; every function then answers [ErrGone], never a zero
// value without an error. A fact that may not be read is no error but a fact of its own:
// selector.Process.Unreadable names it.
//
// What a process says of itself (arguments, environment, paths) is its user's choice: reads are
// bounded, paths are resolved in the process's own root without magic links, and nothing that it
// names is opened for reading or executed.
//
// An FS is safe for concurrent use. Reads block no longer than /proc does; a file system below a
// process's root that does not answer is given up after a second.
//
// Needs Linux 5.6 (openat2: commit fddb5d430ad9, "open: introduce openat2(2) syscall").
package proc
