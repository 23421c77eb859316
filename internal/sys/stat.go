// SPDX-License-Identifier: MIT

package sys

import (
	"bytes"
	"errors"
)

// ErrMalformed is the error for text that the kernel does not write.
var ErrMalformed = errors.New("malformed")

// firstStatField is the number of the first field behind the name in /proc/PID/stat, as proc_pid_stat(5) counts.
const firstStatField = 3

// StatFields returns the part of a /proc/PID/stat line behind the name, for [NextStatField]. The name is free text: it may
// contain parentheses and newlines. It ends at the last parenthesis.
func StatFields(line []byte) ([]byte, error) {
	end := bytes.LastIndexByte(line, ')')
	if begin := bytes.IndexByte(line, '('); begin < 0 || end < begin {
		return nil, ErrMalformed
	}
	return line[end+1:], nil
}

// NextStatField splits off the first field. field is empty at the end of the line and where the text is malformed: the
// kernel writes exactly one space before each field. bytes.FieldsSeq is slower, and most fields are skipped.
func NextStatField(fields []byte) (field, rest []byte) {
	if len(fields) == 0 || fields[0] != ' ' {
		return nil, nil
	}
	fields = fields[1:]
	end := bytes.IndexByte(fields, ' ')
	if end < 0 {
		return bytes.TrimSuffix(fields, []byte{'\n'}), nil
	}
	return fields[:end], fields[end:]
}

// StatField returns one field of a /proc/PID/stat line by its number in proc_pid_stat(5), 3 or higher.
func StatField(line []byte, number int) ([]byte, error) {
	fields, err := StatFields(line)
	if err != nil {
		return nil, err
	}
	var field []byte
	for range number - firstStatField + 1 {
		field, fields = NextStatField(fields)
	}
	if len(field) == 0 {
		return nil, ErrMalformed
	}
	return field, nil
}
