// SPDX-License-Identifier: MIT

package procfs

import (
	"bytes"

	"ebpf-upgrader/selector"
)

// settled reports whether a command line that begins with prefix says the same to p whatever comes
// behind it. The last argument of prefix may go on there, and does not count.
func isDecided(p selector.Pattern, prefix []byte) bool {
	whole := prefix[:bytes.LastIndexByte(prefix, 0)+1]
	named, subcommand := p.Match(whole)
	if named {
		return subcommand
	}
	return len(bytes.TrimLeft(whole, "\x00")) > 0
}
