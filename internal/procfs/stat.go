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
	numThreads int
	startTime  uint64 // clock ticks after boot
	// layout is set by parseStatAndLayout only.
	layout layout
}

// layout is the memory layout of a process. It changes at nearly every exec, because the kernel chooses new addresses
// (address space randomisation), and only then. The zero layout means that this process may not see it, or that the process has
// no arguments in its memory.
type layout struct {
	// Addresses in bytes: fields 48 to 51, 28, 26 and 27 of /proc/PID/stat.
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

// Positions of fields behind the name: the first is field 3 of proc_pid_stat(5).
const (
	statState      = 0
	statFlags      = 6
	statNumThreads = 17
	statStartTime  = 19
	statCodeStart  = 23
	statCodeEnd    = 24
	statStack      = 25
	statArgStart   = 45
	statArgEnd     = 46
	statEnvStart   = 47
	statEnvEnd     = 48

	// statUsed has one bit for each of these positions.
	statUsed = 1<<statState | 1<<statFlags | 1<<statNumThreads | 1<<statStartTime | 1<<statCodeStart | 1<<statCodeEnd |
		1<<statStack | 1<<statArgStart | 1<<statArgEnd | 1<<statEnvStart | 1<<statEnvEnd
)

// parseStat parses a stat line up to the start time. The layout is behind all other used fields.
func parseStat(line []byte) (stat, error) { return parseUntil(statStartTime, line) }

// parseStatAndLayout parses a stat line with the layout. The layout is zero if the line shows no arguments: this process may
// not see them, the memory has been released, or an exec has not set them yet.
func parseStatAndLayout(line []byte) (stat, error) {
	s, err := parseUntil(statEnvEnd, line)
	if s.layout.argEnd <= s.layout.argStart {
		s.layout = layout{}
	}
	return s, err
}

func parseUntil(last int, line []byte) (stat, error) {
	fields, err := sys.StatFields(line)
	if err != nil {
		return stat{}, fmt.Errorf("parse stat: %w", err)
	}
	var s stat
	for position := 0; position <= last; position++ {
		var field []byte
		field, fields = sys.NextStatField(fields)
		if len(field) == 0 {
			return stat{}, fmt.Errorf("parse stat: %w", sys.ErrMalformed)
		}
		if uint64(statUsed)>>position&1 == 0 {
			continue
		}
		if err := s.setField(position, field); err != nil {
			return stat{}, fmt.Errorf("parse stat, field %d: %w", position+3, err)
		}
	}
	return s, nil
}

func (s *stat) setField(position int, field []byte) (err error) {
	switch position {
	case statState:
		s.state = field[0]
	case statFlags:
		s.flags, err = strconv.ParseUint(string(field), 10, 64)
	case statNumThreads:
		s.numThreads, err = strconv.Atoi(string(field))
	case statStartTime:
		s.startTime, err = strconv.ParseUint(string(field), 10, 64)
	default:
		if value := s.layoutField(position); value != nil {
			*value, err = strconv.ParseUint(string(field), 10, 64)
		}
	}
	return err
}

// layoutField returns the field of the layout at a position, or nil.
func (s *stat) layoutField(position int) *uint64 {
	switch position {
	case statCodeStart:
		return &s.layout.codeStart
	case statCodeEnd:
		return &s.layout.codeEnd
	case statStack:
		return &s.layout.stack
	case statArgStart:
		return &s.layout.argStart
	case statArgEnd:
		return &s.layout.argEnd
	case statEnvStart:
		return &s.layout.envStart
	case statEnvEnd:
		return &s.layout.envEnd
	}
	return nil
}

// sameImage reports whether a process with the stat lines s and t has not exec'd between them. It is false if s shows no
// arguments.
func (s stat) sameImage(t stat) bool {
	return s.layout.isKnown() && s.layout == t.layout && s.startTime == t.startTime && s.isForked() == t.isForked()
}
