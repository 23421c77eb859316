// SPDX-License-Identifier: MIT

package procfs

import (
	"fmt"
	"strconv"

	"ebpf-upgrader/internal/sys"
)

// stat has the used fields of /proc/PID/stat, by their names in proc_pid_stat(5).
type stat struct {
	state      byte
	flags      uint64
	numThreads uint64
	startTime  uint64 // clock ticks after boot
	layout     layout
}

// layout is the memory layout of a process. It changes at nearly every exec, because the kernel chooses new addresses
// (address space randomisation), and only then. The zero layout means that this process may not see it, or that the process has
// no arguments in its memory.
type layout struct {
	argStart, argEnd, envStart, envEnd, stack, codeStart, codeEnd uint64
}

func (l layout) isKnown() bool { return l != layout{} }

// Bits of flags, from include/linux/sched.h.
const (
	flagExiting      = 0x4      // PF_EXITING
	flagForkNoExec   = 0x40     // PF_FORKNOEXEC: "Forked but didn't exec"
	flagKernelThread = 0x200000 // PF_KTHREAD
)

func (s stat) isForked() bool       { return s.flags&flagForkNoExec != 0 }
func (s stat) isKernelThread() bool { return s.flags&flagKernelThread != 0 }

// hasExited reports whether the thread has ended or is ending. A thread releases its memory, and with it the content of its
// files, before it is a zombie (exit_mm in do_exit, kernel/exit.c, Linux 6.12).
func (s stat) hasExited() bool { return isExitState(s.state) || s.flags&flagExiting != 0 }

// isAlive reports whether any thread of the process is alive. s is the stat line of the leader.
func (s stat) isAlive() bool { return !s.hasExited() || s.numThreads > 1 }

func isExitState(letter byte) bool { return letter == 'Z' || letter == 'X' }

// statUsed is the number of fields that parseStat reads, and statLast the last of them.
const (
	statUsed = 11
	statLast = 51
)

// parseStat parses a stat line. The layout is zero if the line shows no arguments: this process may not see them, the memory
// has been released, or an exec has not set them yet.
func parseStat(line []byte) (stat, error) {
	var s stat
	var err error
	found := 0
	for number, field := range sys.StatFields(line) {
		if value := s.field(number); value != nil {
			found++
			if *value, err = strconv.ParseUint(string(field), 10, 64); err != nil {
				return stat{}, fmt.Errorf("parse stat, field %d: %w", number, err)
			}
		} else if number == 3 {
			found++
			s.state = field[0]
		}
		if number == statLast {
			break
		}
	}
	if found != statUsed {
		return stat{}, fmt.Errorf("parse stat: %w", sys.ErrMalformed)
	}
	if s.layout.argEnd <= s.layout.argStart {
		s.layout = layout{}
	}
	return s, nil
}

// field returns the value for a field by its number in proc_pid_stat(5); nil for the state and the unused fields.
func (s *stat) field(number int) *uint64 {
	switch number {
	case 9:
		return &s.flags
	case 20:
		return &s.numThreads
	case 22:
		return &s.startTime
	case 26:
		return &s.layout.codeStart
	case 27:
		return &s.layout.codeEnd
	case 28:
		return &s.layout.stack
	case 48:
		return &s.layout.argStart
	case 49:
		return &s.layout.argEnd
	case 50:
		return &s.layout.envStart
	case statLast:
		return &s.layout.envEnd
	}
	return nil
}

// sameImage reports whether a process with the stat lines s and t has not exec'd between them. It is false if s shows no
// arguments.
func (s stat) sameImage(t stat) bool {
	return s.layout.isKnown() && s.layout == t.layout && s.startTime == t.startTime && s.isForked() == t.isForked()
}
