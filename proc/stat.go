// SPDX-License-Identifier: MIT

package proc

import (
	"bytes"
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

// flagForkNoExec is PF_FORKNOEXEC of include/linux/sched.h: "Forked but didn't exec".
const flagForkNoExec = 0x40

func (s stat) forked() bool { return s.flags&flagForkNoExec != 0 }

// exited reports that the thread has ended: a zombie, or one that is being reaped.
func (s stat) exited() bool { return s.state == 'Z' || s.state == 'X' }

var errMalformed = errors.New("malformed")

// Positions among the fields after the name, the first of which proc_pid_stat(5) counts as field 3.
const (
	statState      = 0
	statFlags      = 6
	statNumThreads = 17
	statStartTime  = 19
)

// parseStat takes a stat line apart. The name is free text and may hold anything, parentheses and
// newlines included, so it ends at the last parenthesis.
func parseStat(line []byte) (stat, error) {
	end := bytes.LastIndexByte(line, ')')
	if begin := bytes.IndexByte(line, '('); begin < 0 || end < begin {
		return stat{}, fmt.Errorf("parse stat: %w", errMalformed)
	}
	var s stat
	var errs [3]error
	position := 0
	for field := range bytes.FieldsSeq(line[end+1:]) {
		switch position {
		case statState:
			s.state = field[0]
		case statFlags:
			s.flags, errs[0] = strconv.ParseUint(string(field), 10, 64)
		case statNumThreads:
			s.numThreads, errs[1] = strconv.Atoi(string(field))
		case statStartTime:
			s.startTime, errs[2] = strconv.ParseUint(string(field), 10, 64)
			return s, errors.Join(errs[:]...)
		}
		position++
	}
	return stat{}, fmt.Errorf("parse stat: %w", errMalformed)
}
