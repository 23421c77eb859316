// SPDX-License-Identifier: MIT

package procfs

import (
	"path"
	"strings"
)

// maxPath is PATH_MAX without the NUL.
const maxPath = 4095

// dataDirectory returns the directory of the index that sessions of one user share. It resolves it as rag-rat does:
// RAG_RAT_DATA_DIR, else rag-rat in XDG_DATA_HOME, else .local/share/rag-rat in HOME. An empty variable counts as unset, as
// does a relative XDG_DATA_HOME. The result is empty if no variable is set. No file is read.
func dataDirectory(environ []byte) string {
	value := func(name string) string {
		v, _, _ := variableIn(environ, name)
		return string(v[:min(len(v), maxPath+1)])
	}
	dir := value(dataVariable)
	if dir == "" {
		if base := value("XDG_DATA_HOME"); path.IsAbs(base) {
			dir = base + "/rag-rat"
		} else if home := value("HOME"); home != "" {
			dir = home + "/.local/share/rag-rat"
		}
	}
	if dir == "" || len(dir) > maxPath {
		return ""
	}
	return strings.Clone(path.Clean(dir))
}

const dataVariable = "RAG_RAT_DATA_DIR"

// maxEnvironForDataDir bounds, in bytes, how much of an environment is read for the data directory after the upgrade variable
// was found.
const maxEnvironForDataDir = 128 << 10

// hasAllVariables reports whether the rest of an environment cannot change the upgrade variable or, within
// maxEnvironForDataDir, the data directory.
func hasAllVariables(environ []byte, name string) bool {
	_, _, isFinal := variableIn(environ, name)
	if !isFinal || len(environ) >= maxEnvironForDataDir {
		return isFinal
	}
	_, _, isFinal = variableIn(environ, dataVariable)
	return isFinal
}
