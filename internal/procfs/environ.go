// SPDX-License-Identifier: MIT

package procfs

import "bytes"

// variableIn looks for a variable in an environment. The first entry of the name counts, as getenv(3) has it.
// whole says that more of the environment would not change the answer.
func variableIn(environ []byte, name string) (value []byte, found, whole bool) {
	prefix := append([]byte(name), '=')
	for at := 0; ; {
		i := bytes.Index(environ[at:], prefix)
		if i < 0 {
			return nil, false, false
		}
		begin := at + i
		at = begin + len(prefix)
		if begin > 0 && environ[begin-1] != 0 { // the end of another name, or part of a value
			continue
		}
		value, _, whole := bytes.Cut(environ[at:], []byte{0})
		return value, true, whole
	}
}
