// SPDX-License-Identifier: MIT

// Package journal keeps in one file what must survive the service.
//
// The file must survive the process, not the machine: nothing is written through to a disk, and what
// an earlier boot left is not used. Its form is JSON lines:
//
//	{"ebpf_upgrader_state":3,"boot_id":"…","serves":"…"}
//	{"service":{…}}
//	{"rollout":{…}}
//	{"server":{…}}    as often as there are servers
//	{"server":{…}}    for every change since: a later line replaces an earlier one of the same PID
//
// Moments are in nanoseconds of CLOCK_BOOTTIME, so that jumps of the wall clock do not move them; only
// the time at which the installed file was modified is its file system's.
//
// A file that lacks something, because it could not be written when a signal was about to be sent, is one that
// its owner may not write to (mode 0400): to say so takes no room on a full disk. Whoever finds it must take any server
// for one that was asked.
//
// A line counts only if it is, byte for byte, what this version would have written: nobody gets half a
// server. A last line that is not is taken for one that a killed process did not finish, and left
// out; any other makes the whole file foreign. Whatever changes the form must raise the number in the
// header, but for a field that may be left out and then means what it meant before there was one.
package journal
