// SPDX-License-Identifier: MIT

package procfs

import (
	"bytes"
	"fmt"
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

// parseStatus parses a status file. The kernel escapes newlines in the name on the first line (proc_task_name in
// fs/proc/array.c, Linux 6.12), so a process cannot forge a line.
func parseStatus(text []byte) (status, error) {
	var s status
	seen := 0
	for line := range bytes.Lines(text) {
		key, value, _ := bytes.Cut(line, []byte{':'})
		field, err := s.setField(key, bytes.TrimSpace(value))
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
	case "State":
		s.state, err = stateLetter(value)
		return statusState, err
	case "Tgid":
		tgid, err := strconv.ParseInt(string(value), 10, 32)
		s.tgid = selector.PID(tgid)
		return statusTgid, err
	case "Uid":
		ids, err := fourIDs(value)
		s.credentials.UID, s.credentials.Owner.UID = ids[3], ids[0]
		s.credentials.Changed = s.credentials.Changed || !allEqual(ids)
		return statusUID, err
	case "Gid":
		ids, err := fourIDs(value)
		s.credentials.GID = ids[3]
		s.credentials.Changed = s.credentials.Changed || !allEqual(ids)
		return statusGID, err
	case "Groups":
		s.credentials.Groups, err = parseIDs(value)
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

// stateLetter returns the "S" of "S (sleeping)".
func stateLetter(value []byte) (byte, error) {
	if len(value) == 0 {
		return 0, sys.ErrMalformed
	}
	return value[0], nil
}

// parseMask parses the lowest 64 bits of a hexadecimal mask. MIPS has 128 signals; the highest comes first.
func parseMask(value []byte) (uint64, error) {
	const digits = 64 / 4
	return strconv.ParseUint(string(value[max(0, len(value)-digits):]), 16, 64)
}

// fourIDs parses real, effective, saved and file system id. The kernel checks the last one when a file is opened or exec'd.
func fourIDs(value []byte) ([4]uint32, error) {
	ids, err := parseIDs(value)
	if err != nil || len(ids) != 4 {
		return [4]uint32{}, sys.ErrMalformed
	}
	return [4]uint32(ids), nil
}

func allEqual(ids [4]uint32) bool { return ids == [4]uint32{ids[0], ids[0], ids[0], ids[0]} }

func parseIDs(value []byte) ([]uint32, error) {
	var ids []uint32
	for field := range bytes.FieldsSeq(value) {
		id, err := strconv.ParseUint(string(field), 10, 32)
		if err != nil {
			return nil, sys.ErrMalformed
		}
		ids = append(ids, uint32(id))
	}
	return ids, nil
}
