// SPDX-License-Identifier: MIT

// Package install says when a complete new binary stands at a path, and whether it can be exec'd.
//
// A server that execs something that cannot be exec'd is lost, so a file counts as ready only if the
// kernel would take it: a regular file that is executable, that nobody has open for writing, an ELF
// of this machine with all its segments and its interpreter, or a script whose interpreter is. What
// the file does once it runs is not looked at, and nothing is ever executed.
//
// A file is opened for reading only once it is known to be a regular one: never a FIFO, a device or
// anything else that an open could change or wait for.
//
// [Check] looks once, [Settled] waits for a file to come to rest, and a [Watcher] tells each change.
// Check and Settled are safe for concurrent use; a Watcher has one goroutine of its own, and its
// channel one reader.
package install
