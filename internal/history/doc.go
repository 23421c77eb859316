// SPDX-License-Identifier: MIT

// Package history keeps a bounded number of entries in files that survive the machine.
//
// A [Store] has two files, of JSON lines with mode 0600:
//
//	NAME.jsonl      is appended to
//	NAME.old.jsonl  has the entries from before
//	{"n":12,"user":1000,"entry":{…}}
//
// A line replaces an earlier one of the same number, and user is -1 where an entry belongs to no user. When the first
// file is full, the latest entries of both replace the second one by a rename. What is left out then is taken from the users
// with the most, so that no user pushes out the entries of others ([Trim]). What a user may add in a time is limited too.
//
// A goroutine writes the files: no caller waits for a disk. Entries are in the kernel within a moment, so a process that is
// killed loses those of its last moment. They are on the disk within [syncEvery]: a crash of the machine loses the last
// seconds. Entries that cannot be written wait in memory, up to [maxPending] bytes, and are tried again; the rest is counted.
//
// A reader takes whatever lines it can read, and counts the others. Linux only.
package history
