// SPDX-License-Identifier: MIT

// Package budget limits how much of the program's time each user gets.
//
// A [Bucket] is the debt of one user: its cost is known only after the work, and may exceed the burst. A [Meter] has one
// bucket for each user. A [Queue] runs work that may block in workers: users in turn, a few workers for each, and a user in
// debt waits. However slow the processes and file systems of a user are, the work for other users goes on.
package budget
