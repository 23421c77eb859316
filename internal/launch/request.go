// SPDX-License-Identifier: MIT

package launch

import "time"

// Request says what is to be checked.
type Request struct {
	// File is the program: it must be one of root's in folders of root's. Name is its argv[0].
	File, Name string
	// Subcommand is the argument that makes it a server.
	Subcommand string
	// UID, GID and Groups are those that it runs with. UID must not be 0.
	UID, GID uint32
	Groups   []uint32
	// Timeout limits each of the two runs; zero: 20 s.
	Timeout time.Duration
}

// Result is what a check found.
type Result struct {
	// Problem says what went wrong; empty: nothing did.
	Problem string
	// Output is what the program printed, at most 2 KiB: bytes of a program, to be escaped before a terminal.
	Output string
}

// The limits of a run.
const (
	defaultTimeout = 20 * time.Second
	// maxOutput bounds what is kept of the output, and maxAnswer what is read while the answer is awaited.
	maxOutput, maxAnswer = 2 << 10, 1 << 20
	maxMemory            = 512 << 20
	maxCPUSeconds        = 30
	maxFiles             = 256
	tmpOptions           = "size=64m,nr_inodes=16384"
)
