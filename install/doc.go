// SPDX-License-Identifier: MIT

// Package install says when a complete new binary stands at a path, and whether it can be exec'd.
//
// A server that execs something that cannot be exec'd is lost, so a file counts as ready only if the
// kernel would take it: a regular file that is executable, that nobody has open for writing, an ELF
// of this machine with all its segments and its interpreter, or a script whose interpreter is. What
// the file does once it runs is not looked at, and nothing is ever executed. Whether a certain user
// may exec it, and whether the mount allows it, depends on the server, and is asked for each.
//
// A file is opened for reading only once it is known to be a regular one: never a FIFO, a device or
// anything else that an open could change or wait for. A file system that hangs does block.
//
// [Check] looks once, [Settled] waits for a file to come to rest, and a [Watcher] tells each change.
// Check and Settled are safe for concurrent use; a Watcher has one goroutine of its own, and its
// channel one reader. None of them has an error for what stands at the path: that is the State of
// the install, with the reason in plain words.
//
// A Watcher computes what it tells from what is there, never from what an event said, so that
// events that were lost, merged or late change nothing but the time.
//
// Any kernel from 3.6 on will do (fstat of an O_PATH descriptor, open(2)); /proc must be mounted.
package install
