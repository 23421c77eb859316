// SPDX-License-Identifier: MIT

package proc

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"strconv"
)

// stat holds the fields of /proc/PID/stat that are used here, by the names of proc_pid_stat(5).
type stat struct {
	state      byte
	flags      uint64
	numThreads int
	startTime  uint64 // clock ticks after boot
}

// Bits of flags, from include/linux/sched.h.
const (
	flagExiting      = 0x4      // PF_EXITING
	flagForkNoExec   = 0x40     // PF_FORKNOEXEC: "Forked but didn't exec"
	flagKernelThread = 0x200000 // PF_KTHREAD
)

func (s stat) forked() bool       { return s.flags&flagForkNoExec != 0 }
func (s stat) kernelThread() bool { return s.flags&flagKernelThread != 0 }

// exited reports that the thread has ended or is about to: it gives its memory back, and with it
// what its files show, before it is a zombie (exit_mm in do_exit, kernel/exit.c, Linux 6.12).
func (s stat) exited() bool { return exitedState(s.state) || s.flags&flagExiting != 0 }

// lives reports whether any thread of the process does, when s is that of its leader.
func (s stat) lives() bool { return !s.exited() || s.numThreads > 1 }

func exitedState(letter byte) bool { return letter == 'Z' || letter == 'X' }

var errMalformed = errors.New("malformed")

// Positions among the fields after the name, the first of which proc_pid_stat(5) counts as field 3.
const (
	statState      = 0
	statFlags      = 6
	statNumThreads = 17
	statStartTime  = 19
	statArgStart   = 45
	statArgEnd     = 46
)

// afterName is what follows the name in a stat line, which is free text and may hold anything, parentheses and
// newlines included: it ends at the last parenthesis.
func afterName(line []byte) ([]byte, error) {
	end := bytes.LastIndexByte(line, ')')
	if begin := bytes.IndexByte(line, '('); begin < 0 || end < begin {
		return nil, fmt.Errorf("parse stat: %w", errMalformed)
	}
	return line[end+1:], nil
}

// parseStat takes a stat line apart.
func parseStat(line []byte) (stat, error) {
	fields, err := afterName(line)
	if err != nil {
		return stat{}, err
	}
	var s stat
	position := 0
	for field := range bytes.FieldsSeq(fields) {
		if err := s.take(position, field); err != nil {
			return stat{}, fmt.Errorf("parse stat, field %d: %w", position+3, err)
		}
		if position == statStartTime {
			return s, nil
		}
		position++
	}
	return stat{}, fmt.Errorf("parse stat: %w", errMalformed)
}

func (s *stat) take(position int, field []byte) (err error) {
	switch position {
	case statState:
		s.state = field[0]
	case statFlags:
		s.flags, err = strconv.ParseUint(string(field), 10, 64)
	case statNumThreads:
		s.numThreads, err = strconv.Atoi(string(field))
	case statStartTime:
		s.startTime, err = strconv.ParseUint(string(field), 10, 64)
	}
	return err
}

// lacksArguments reports whether there are no arguments where a stat line says that they stand.
func lacksArguments(line []byte) (bool, error) {
	fields, err := afterName(line)
	if err != nil {
		return false, err
	}
	var start uint64
	position := 0
	for field := range bytes.FieldsSeq(fields) {
		switch position {
		case statArgStart:
			start, err = strconv.ParseUint(string(field), 10, 64)
		case statArgEnd:
			end, err := strconv.ParseUint(string(field), 10, 64)
			return err == nil && end <= start, err
		}
		if err != nil {
			break
		}
		position++
	}
	return false, fmt.Errorf("parse stat: %w", cmp.Or(err, errMalformed))
}
