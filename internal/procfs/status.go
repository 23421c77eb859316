// SPDX-License-Identifier: MIT

package procfs

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"ebpf-upgrader/internal/sys"
	"ebpf-upgrader/selector"
)

// status has the used fields of /proc/PID/status.
type status struct {
	state byte
	// tgid is the PID of the process that the thread belongs to.
	tgid        selector.PID
	credentials selector.Credentials
	// pids is the number of PIDs of the thread: one in each PID namespace, from that of the proc file system to its own. It is 0
	// if unknown, as on a kernel without PID namespaces.
	pids int
	// caught is SigCgt: bit n-1 is set if signal n has a handler.
	caught uint64
}

// The bits of CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH of include/uapi/linux/capability.h.
const capOverride, capReadSearch = 1 << 1, 1 << 2

// hasExited reports whether the thread is a zombie or being reaped.
func (s status) hasExited() bool { return isExitState(s.state) }

func (s status) catches(signal int) bool {
	return signal >= 1 && signal <= 64 && s.caught&(1<<(signal-1)) != 0
}

// Bits for the fields that every status has.
const (
	statusState = 1 << iota
	statusTgid
	statusUID
	statusGID
	statusGroups
	statusCaught
	statusAll = 1<<iota - 1
)

// maxGroups is the number of groups that a status with bufferSize bytes has room for, whatever their numbers: the kernel writes
// 11 bytes for each. A process can have 65,536 groups.
const maxGroups = 1 << 10

var errTooManyGroups = fmt.Errorf("has more than %d groups", maxGroups)

// parseStatus parses a status file. The kernel escapes newlines in the name on the first line (proc_task_name in
// fs/proc/array.c, Linux 6.12), so a process cannot forge a line. It fails with errTooManyGroups for a process with more than
// maxGroups; what comes before them is in the result then, the user among it.
func parseStatus(text []byte) (status, error) {
	var s status
	seen := 0
	for line := range bytes.Lines(text) {
		key, value, _ := bytes.Cut(line, []byte{':'})
		field, err := s.setField(key, bytes.TrimSpace(value))
		if errors.Is(err, errTooManyGroups) {
			return s, err
		}
		if err != nil {
			return status{}, fmt.Errorf("parse status, %s: %w", key, err)
		}
		seen |= field
	}
	if seen != statusAll {
		return status{}, fmt.Errorf("parse status: %w", sys.ErrMalformed)
	}
	return s, nil
}

// setField stores one line, and returns the bit of its field; 0 for an optional or unused one.
func (s *status) setField(key, value []byte) (field int, err error) {
	switch string(key) {
	case "State": // "S (sleeping)"
		if len(value) == 0 {
			return 0, sys.ErrMalformed
		}
		s.state = value[0]
		return statusState, nil
	case "Tgid":
		tgid, err := strconv.ParseInt(string(value), 10, 32)
		s.tgid = selector.PID(tgid)
		return statusTgid, err
	case "Uid":
		s.credentials.Owner.UID, s.credentials.UID, err = s.fourIDs(value)
		return statusUID, err
	case "Gid":
		_, s.credentials.GID, err = s.fourIDs(value)
		return statusGID, err
	case "Groups":
		if bytes.Count(value, []byte{' '}) >= maxGroups {
			return 0, errTooManyGroups
		}
		s.credentials.Groups, err = parseIDs(nil, value)
		return statusGroups, err
	case "NSpid": // since Linux 4.1 (commit e4bc33245124, "/proc/PID/status: show all sets of pid according to ns")
		for range bytes.FieldsSeq(value) {
			s.pids++
		}
	case "CapEff":
		effective, err := parseMask(value)
		s.credentials.ExecsAny = effective&capOverride != 0
		s.credentials.SearchesAny = effective&(capOverride|capReadSearch) != 0
		return 0, err
	case "SigCgt":
		s.caught, err = parseMask(value)
		return statusCaught, err
	}
	return 0, nil
}

// parseMask parses the lowest 64 bits of a hexadecimal mask. MIPS has 128 signals; the highest comes first.
func parseMask(value []byte) (uint64, error) {
	const digits = 64 / 4
	return strconv.ParseUint(string(value[max(0, len(value)-digits):]), 16, 64)
}

// fourIDs parses real, effective, saved and file system id, and notes whether they differ. The kernel checks the last one when a
// file is opened or exec'd.
func (s *status) fourIDs(value []byte) (first, last uint32, err error) {
	var four [4]uint32
	ids, err := parseIDs(four[:0], value)
	if err != nil || len(ids) != 4 {
		return 0, 0, sys.ErrMalformed
	}
	s.credentials.Changed = s.credentials.Changed || slices.Min(ids) != slices.Max(ids)
	return ids[0], ids[3], nil
}

// parseIDs appends the numbers in value to ids.
func parseIDs(ids []uint32, value []byte) ([]uint32, error) {
	for field := range bytes.FieldsSeq(value) {
		id, err := strconv.ParseUint(string(field), 10, 32)
		if err != nil {
			return nil, sys.ErrMalformed
		}
		ids = append(ids, uint32(id))
	}
	return ids, nil
}
