// SPDX-License-Identifier: MIT

// Package journal keeps in one file what must survive the process that runs a service.
//
// The intent to signal a server is written before the signal is sent. Where it cannot be written the server must not be
// signalled. So every server that was signalled is in the file, however the process ends.
//
// The file need not survive the machine: it is in a file system in memory as a rule, nothing is written through to a disk,
// and what an earlier boot left is not used. An operator's [Pause] survives the machine, in a file of its own.
//
// The form of the journal is JSON lines:
//
//	{"ebpf_upgrader_journal":2,"boot_id":"…","serves":"…","number":7}
//	{"rollout":{…}}   a later line replaces an earlier one of the same number
//	{"server":{…}}    a later line replaces an earlier one of the same PID; one of a state that is not kept removes it
//	{"forget":7}      removes a rollout and its servers
//
// The first line is written once, when the file is made. The others follow in any order, one for each change.
// Moments are in nanoseconds of CLOCK_BOOTTIME, so that jumps of the wall clock do not move them. The times of the
// installed file are those of its file system.
//
// A line counts only if it is, byte for byte, what this version would have written: there is no half of a server. A last
// line that is not counts as unfinished, by a process that was killed, and is ignored. Any other such line makes the whole
// file foreign. A change of the form must raise the number in the header, unless it adds a field that may be left out,
// which then means the old form.
package journal
