// SPDX-License-Identifier: MIT

package procfs

import "bytes"

// variableIn looks up a variable in an environment. The first entry of a name counts, as for getenv(3). isFinal is true if the
// rest of a cut environment cannot change the result.
func variableIn(environ []byte, name string) (value []byte, found, isFinal bool) {
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
		value, _, isFinal := bytes.Cut(environ[at:], []byte{0})
		return value, true, isFinal
	}
}
