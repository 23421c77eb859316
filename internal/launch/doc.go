// SPDX-License-Identifier: MIT

// Package launch starts a program of root's in a cage, to see that it works before it is put in place. It is the only package
// of this program that starts another program.
//
// A service gives up its capabilities soon after its start. So [Start] forks a helper before that: this program again, with
// [Argument]. The helper keeps CAP_SETUID, CAP_SETGID, CAP_SYS_ADMIN and CAP_KILL, does nothing by itself, takes one
// [Request] at a time on its stdin, and ends with the service. For each run it starts this program once more, which builds
// the cage around itself and then execs the file:
//
//   - the user and the groups of the request, never root; no new privileges, no capabilities;
//   - a network, a PID and an IPC namespace of its own, without an interface that is up;
//   - every file system read-only, and an empty /tmp of 64 MiB for its repository, its home and its data;
//   - limits of memory, processor time and descriptors; the kernel kills it first when memory is short;
//   - a limit of time, after which everything in the cage is killed.
//
// The file is opened once, must belong to root in folders of root, and is exec'd by its descriptor.
package launch
