// SPDX-License-Identifier: MIT

package selector

// Activity is what a process has done since it started, as far as it tells whether the process is idle. Two that are equal
// say that it neither read nor wrote in between.
type Activity struct {
	// IsCounted says that the kernel told the other fields. It does not where it was built without
	// CONFIG_TASK_IO_ACCOUNTING, and not to a user who may not trace the process.
	IsCounted bool
	// Reads and Writes count system calls, BytesRead and BytesWritten what they moved, files, pipes and sockets alike.
	Reads, Writes, BytesRead, BytesWritten uint64
}

// Idleness is the verdict on the activities of a process over some time.
type Idleness uint8

// The verdicts.
const (
	// IdleUnknown: it has not been watched for long enough.
	IdleUnknown Idleness = iota
	// IdleNo: it has read, written or run within that time.
	IdleNo
	// IdleYes: it has done none of these.
	IdleYes
)
