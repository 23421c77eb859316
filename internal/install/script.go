// SPDX-License-Identifier: MIT

package install

import (
	"bytes"
	"errors"
	"strings"
)

// scriptLineLen is BINPRM_BUF_SIZE of include/uapi/linux/binfmts.h (Linux 5.1): the kernel reads that much of a file to find
// its format.
const scriptLineLen = 256

// scriptInterpreter parses the first line of a script as load_script in fs/binfmt_script.c does (Linux 6.12). It skips blanks,
// and the path ends at the next blank. isScript is false for any other file.
func scriptInterpreter(head []byte) (path string, isScript bool, err error) {
	rest, isScript := bytes.CutPrefix(head, []byte("#!"))
	if !isScript {
		return "", false, nil
	}
	line, _, ended := bytes.Cut(rest, []byte{'\n'})
	trimmed := bytes.TrimLeft(line, " \t")
	end := bytes.IndexAny(trimmed, " \t\x00")
	switch {
	case end >= 0:
		trimmed = trimmed[:end]
	case !ended && len(head) == scriptLineLen:
		return "", true, errors.New("the first line of the script is too long")
	}
	switch {
	case len(trimmed) == 0:
		return "", true, errors.New("the script names no interpreter")
	case !strings.HasPrefix(string(trimmed), "/"):
		// The kernel resolves it in the working directory of the server, which this process does not share.
		return "", true, errors.New("the script's interpreter is a relative path")
	}
	return string(trimmed), true, nil
}
