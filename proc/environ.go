// SPDX-License-Identifier: MIT

package proc

import "bytes"

// variable looks for one variable in an environment that comes in pieces of any size. The first
// entry of the name counts, as getenv(3) has it.
type variable struct {
	prefix []byte // the name and "="
	// longest bounds the value that is kept.
	longest int

	// entry is the current entry, as far as it agrees with prefix or is the value looked for.
	entry []byte
	// other says that the current entry is another variable.
	other bool

	found, cut bool
	value      string
}

func newVariable(name string, longest int) *variable {
	return &variable{prefix: append([]byte(name), '='), longest: longest}
}

// feed takes the next piece and reports whether the variable was found.
func (v *variable) feed(piece []byte) bool {
	for len(piece) > 0 && !v.found {
		part, rest, ended := bytes.Cut(piece, []byte{0})
		piece = rest
		v.take(part)
		if ended {
			v.endEntry()
		}
	}
	return v.found
}

func (v *variable) take(part []byte) {
	if v.other {
		return
	}
	room := len(v.prefix) + v.longest + 1 - len(v.entry)
	v.entry = append(v.entry, part[:min(room, len(part))]...)
	n := min(len(v.entry), len(v.prefix))
	v.other = !bytes.Equal(v.entry[:n], v.prefix[:n])
}

// endEntry is called at each NUL, and at the end of an environment that lacks the last one.
func (v *variable) endEntry() {
	if !v.other && len(v.entry) >= len(v.prefix) {
		v.found = true
		value := v.entry[len(v.prefix):]
		v.cut = len(value) > v.longest
		v.value = string(value[:min(len(value), v.longest)])
	}
	v.entry, v.other = v.entry[:0], false
}
