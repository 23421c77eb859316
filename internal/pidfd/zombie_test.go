// SPDX-License-Identifier: MIT

//go:build linux

package pidfd

import (
	"fmt"
	"strings"
	"testing"
)

// FuzzZombieStatus checks that no process name changes the status.
func FuzzZombieStatus(f *testing.F) {
	f.Add("cat", "Z", uint32(0x4600))
	f.Add(") Z 1 (", "S", uint32(9))
	f.Add("a\n) Z", "Z", uint32(0))
	f.Fuzz(func(t *testing.T, name, state string, code uint32) {
		if strings.ContainsAny(state, ") \t\n\v\f\r\u0085\u00a0") || state == "" {
			return
		}
		between := strings.Repeat(" 0", exitCodeField-stateField-1)
		got, isZombie := zombieStatus(fmt.Appendf(nil, "812 (%s) %s%s %d\n", name, state, between, code))
		if want := state == "Z"; want != isZombie || want && got != code {
			t.Errorf("%q in state %q with code %d: %d, %t", name, state, code, got, isZombie)
		}
		_, _ = zombieStatus([]byte(name)) // anything
	})
}
