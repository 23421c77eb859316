// SPDX-License-Identifier: MIT

package selector

// Activity is what a process has read and written since it started. If two readings are equal, the process neither read
// nor wrote in between.
type Activity struct {
	// IsCounted says that the other fields are valid. They are not where the kernel was built without
	// CONFIG_TASK_IO_ACCOUNTING, nor for a reader that may not trace the process.
	IsCounted bool
	// Reads and Writes count system calls on files, pipes and sockets; BytesRead and BytesWritten count their bytes.
	Reads, Writes, BytesRead, BytesWritten uint64
}

// Idleness is the verdict on several readings of the [Activity] of a process.
type Idleness uint8

// The verdicts.
const (
	// IdleUnknown: the process has not been watched for long enough.
	IdleUnknown Idleness = iota
	// IdleNo: the process has read, written or run within that time.
	IdleNo
	// IdleYes: the process has done none of these.
	IdleYes
)
