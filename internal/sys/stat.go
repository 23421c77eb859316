// SPDX-License-Identifier: MIT

package sys

import (
	"bytes"
	"errors"
	"iter"
)

// ErrMalformed is the error for text that the kernel does not write.
var ErrMalformed = errors.New("malformed")

// StatFields lists the fields of a /proc/PID/stat line behind the name, with their numbers in proc_pid_stat(5), from 3. It
// ends where the text is malformed. The name is free text: it may contain parentheses and newlines. It ends at the last
// parenthesis.
func StatFields(line []byte) iter.Seq2[int, []byte] {
	return func(yield func(int, []byte) bool) {
		end := bytes.LastIndexByte(line, ')')
		if begin := bytes.IndexByte(line, '('); begin < 0 || end < begin {
			return
		}
		rest := bytes.TrimSuffix(line[end+1:], []byte{'\n'})
		for number := 3; len(rest) > 0 && rest[0] == ' '; number++ {
			rest = rest[1:]
			size := bytes.IndexByte(rest, ' ')
			if size < 0 {
				size = len(rest)
			}
			if size == 0 || !yield(number, rest[:size]) {
				return
			}
			rest = rest[size:]
		}
	}
}
