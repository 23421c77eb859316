// SPDX-License-Identifier: MIT

package proc

import (
	"bytes"
	"fmt"
	"strconv"

	"ebpf-upgrader/selector"
)

// status holds the fields of /proc/PID/status that are used here.
type status struct {
	credentials selector.Credentials
	// caught is SigCgt: bit n-1 is set when signal n has a handler.
	caught uint64
}

func (s status) catches(signal int) bool {
	return signal >= 1 && signal <= 64 && s.caught&(1<<(signal-1)) != 0
}

// parseStatus takes a status file apart. The name, on the first line, has its newlines escaped by
// the kernel, so no line can be forged.
func parseStatus(text []byte) (status, error) {
	var s status
	seen := 0
	for line := range bytes.Lines(text) {
		key, value, _ := bytes.Cut(line, []byte{':'})
		var err error
		switch string(key) {
		case "Uid":
			s.credentials.UID, err = fileSystemID(value)
		case "Gid":
			s.credentials.GID, err = fileSystemID(value)
		case "Groups":
			s.credentials.Groups, err = parseIDs(value)
		case "SigCgt":
			s.caught, err = strconv.ParseUint(string(bytes.TrimSpace(value)), 16, 64)
		default:
			continue
		}
		if err != nil {
			return status{}, fmt.Errorf("parse status, %s: %w", key, err)
		}
		seen++
	}
	if seen < 4 {
		return status{}, fmt.Errorf("parse status: %w", errMalformed)
	}
	return s, nil
}

// fileSystemID is the last of real, effective, saved and file system id: the one that the kernel
// checks when a file is opened or exec'd.
func fileSystemID(value []byte) (uint32, error) {
	ids, err := parseIDs(value)
	if err != nil || len(ids) != 4 {
		return 0, errMalformed
	}
	return ids[3], nil
}

func parseIDs(value []byte) ([]uint32, error) {
	var ids []uint32
	for field := range bytes.FieldsSeq(value) {
		id, err := strconv.ParseUint(string(field), 10, 32)
		if err != nil {
			return nil, errMalformed
		}
		ids = append(ids, uint32(id))
	}
	return ids, nil
}
