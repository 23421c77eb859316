// SPDX-License-Identifier: MIT

// Package procfs reads what /proc says about one process. All paths go through [FS], the mount point
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
// An FS is safe for concurrent use. Nothing blocks for as long as a process or a file system below its root
// likes, but [FS.Cmdline]: what does not answer soon is given up, and a fact that could not be read.
//
// Needs Linux 5.6 (openat2: commit fddb5d430ad9, "open: introduce openat2(2) syscall").
package procfs
