// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"os"
	"testing"
)

// TestForgetAfter_Zero_ForgetsAtOnce: zero is a value, not the default.
func TestForgetAfter_Zero_ForgetsAtOnce(t *testing.T) {
	t.Parallel()
	h, s := newWholeHost(t), newScene(t)
	servers := h.start(s, uint32(os.Getuid()), 1)
	h.serve("proc", "--forget-after", "0", "--max-installs-per-user", "0")
	h.knows(1)
	must(t, servers[0].Stop())
	eventually(t, "the install is forgotten", func() bool { return len(h.status().Installs) == 0 })
}
