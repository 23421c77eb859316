// SPDX-License-Identifier: MIT

//go:build linux

package tracker

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestLoad_MemlockCounts_NamesTheLimit: before Linux 5.11 the kernel answers EPERM for a limit that is too low.
func TestLoad_MemlockCounts_NamesTheLimit(t *testing.T) {
	t.Parallel()
	refused := fmt.Errorf("map create: %w", unix.EPERM)
	for isLimited, want := range map[bool]string{true: "RLIMIT_MEMLOCK", false: "CAP_BPF"} {
		if err := unavailable(refused, isLimited); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), want) {
			t.Errorf("with the limit %t: %v, want %s", isLimited, err, want)
		}
	}
}
