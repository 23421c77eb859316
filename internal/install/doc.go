// SPDX-License-Identifier: MIT

// Package install watches installed files, and checks that the kernel can exec them.
//
// A server that execs an invalid file dies. A file is ready only if the kernel would accept it. It is a regular, executable
// file that is not open for writing. It is an ELF of this machine with all its segments and its interpreter, or a script
// with a ready interpreter. The checks do not cover what the program does, and nothing is executed. Whether a certain user
// may exec the file, and whether the mount allows it, is checked for each server elsewhere.
//
// A [RootedPath] starts at the root directory of this process or of another one, and never leads out of it: not by "..", a
// symbolic link or a magic link of /proc. A file is opened for reading only if it is a regular file. An open of a FIFO or a
// device could block or have an effect. No file stays open between two checks, so no mount is kept busy.
//
// Each version of a file, as its inode, size and times tell, is opened once: an open fires the servers' own trigger. A
// [Checker] caches the results, and they can outlive the process. [Stat] opens no file. [RootedPath.Credentials] prevents
// that a file is opened or watched for a user that could not reach it.
//
// [Check] checks a path once, [WaitSettled] waits until a file has settled, and a [Hub] watches any number of paths for any
// number of users. They have no errors for a bad file: the State of the install has the result, with the reason. They do
// not wait for a file system that does not answer. In a Hub it delays paths of the same user only, and blocks four threads
// at most.
//
// A Hub computes each report from the current file, never from an event. Lost, merged or late events change only the time
// of a report.
//
// Needs Linux 5.6 (openat2: commit fddb5d430ad9, "open: introduce openat2(2) syscall") and a mounted /proc.
package install
