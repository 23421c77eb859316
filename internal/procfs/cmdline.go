// SPDX-License-Identifier: MIT

package procfs

import (
	"bytes"

	"ebpf-upgrader/selector"
)

// isDecided reports whether p matches or does not match every command line that begins with prefix. The last argument of
// prefix may be cut, and does not count.
func isDecided(p selector.Pattern, prefix []byte) bool {
	whole := prefix[:bytes.LastIndexByte(prefix, 0)+1]
	named, subcommand := p.Match(whole)
	if named {
		return subcommand
	}
	return len(bytes.TrimLeft(whole, "\x00")) > 0
}
