// SPDX-License-Identifier: MIT

// Package install says when a complete new binary stands at a path, and whether it can be exec'd.
//
// A server that execs something that cannot be exec'd is lost, so a file counts as ready only if the
// kernel would take it: a regular file that is executable, that nobody has open for writing, an ELF
// of this machine with all its segments and its interpreter, or a script whose interpreter is. What
// the file does once it runs is not looked at, and nothing is ever executed. Whether a certain user
// may exec it, and whether the mount allows it, depends on the server, and is asked for each.
//
// A [Way] leads to a file from a root, that of this process or of another one, and never out of it:
// not through "..", a symbolic link or a magic link of /proc. A file is opened for reading only once
// it is known to be a regular one: never a FIFO, a device or anything else that an open could change or
// wait for. Nothing stays open between two looks, so that no mount is held busy.
//
// A file is opened once for each content, which its inode, size and times tell: an open has the servers that watch the
// file signalled by their own trigger. A [Checker] keeps the answers, which can outlive the process. [Glance] opens
// nothing. [Way.Who] keeps files from being opened or watched for a user who could not reach them.
//
// [Check] looks once, [Settled] waits for a file to come to rest, and a [Hub] watches any number of
// ways, for any number of users, with one inotify instance. None of them has an error for what stands
// there: that is the State of the install, with the reason in plain words. None of them waits for a file
// system that does not answer; in a Hub only the ways of the same user do, with at most four threads.
//
// A Hub computes what it tells from what is there, never from what an event said, so that events that
// were lost, merged or late change nothing but the time.
//
// Needs Linux 5.6 (openat2: commit fddb5d430ad9, "open: introduce openat2(2) syscall"); /proc must be
// mounted.
package install
