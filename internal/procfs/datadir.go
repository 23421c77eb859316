// SPDX-License-Identifier: MIT

package procfs

import (
	"path"
	"strings"
)

// longestPath is PATH_MAX without the NUL.
const maxPath = 4095

// dataDirectory is where a server has the index that its user's sessions share, as rag-rat resolves it: what
// RAG_RAT_DATA_DIR says, else rag-rat in XDG_DATA_HOME, else that in .local/share of HOME. An empty variable counts as
// none, as does a relative one of the XDG specification. No file is touched. It is empty where nothing says it.
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

// longestBehind is how much of an environment is read for the data directory where the upgrade variable was found.
const maxEnvironForDataDir = 128 << 10

// saysAll reports whether more of an environment would change neither the upgrade variable nor, within bounds, the data
// directory.
func hasAllVariables(environ []byte, name string) bool {
	_, _, whole := variableIn(environ, name)
	if !whole || len(environ) >= maxEnvironForDataDir {
		return whole
	}
	_, _, whole = variableIn(environ, dataVariable)
	return whole
}
