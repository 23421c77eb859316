// SPDX-License-Identifier: MIT

// Package journal keeps in one file what must survive the service.
//
// The file must survive the process, not the machine: its place is a file system in memory, nothing is written through to
// a disk, and what an earlier boot left is not used. [Pause] is the exception. The form of the journal is JSON lines:
//
//	{"ebpf_upgrader_journal":1,"boot_id":"…","serves":"…"}
//	{"service":{…}}
//	{"rollout":{…}}
//	{"server":{…}}    as often as there are servers
//	{"server":{…}}    for every change since: a later line replaces an earlier one of the same PID
//	{"forget":7}      a rollout is over, with its servers
//
// Moments are in nanoseconds of CLOCK_BOOTTIME, so that jumps of the wall clock do not move them; only
// the time at which the installed file was modified is its file system's.
//
// The intent to signal a server is written before the signal is sent. Where it cannot be written, the server must not be
// signalled. So every server that was signalled is in the file, however the process ends.
//
// A line counts only if it is, byte for byte, what this version would have written: nobody gets half a
// server. A last line that is not is taken for one that a killed process did not finish, and left
// out; any other makes the whole file foreign. Whatever changes the form must raise the number in the
// header, but for a field that may be left out and then means what it meant before there was one.
package journal
