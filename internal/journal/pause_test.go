// SPDX-License-Identifier: MIT

//go:build linux

package journal_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/journal"
)

func requirePaused(t *testing.T, p journal.Pause, want bool, when string) {
	t.Helper()
	if got, err := p.IsSet(); got != want || err != nil {
		t.Errorf("%s IsSet = %t, %v, want %t", when, got, err, want)
	}
}

func TestPause_SetAndReset_IsKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	host, install := journal.NewPause(dir, ""), journal.NewPause(dir, installPath)
	requirePaused(t, host, false, "without a directory")
	must(t, host.Clear())
	for range 2 {
		must(t, host.Set())
		requirePaused(t, journal.NewPause(dir, ""), true, "after Set")
		requirePaused(t, install, false, "of another service")
	}
	if text, err := os.ReadFile(theFile(t, dir)); err != nil || !strings.Contains(string(text), "ebpf-upgrader resume") {
		t.Errorf("the file says %q, %v", text, err)
	}
	if ago := time.Since(host.Since()); ago < -time.Second || ago > time.Minute {
		t.Errorf("the pause was set %s ago, want just now", ago)
	}
	must(t, host.Clear())
	must(t, host.Clear())
	if !host.Since().IsZero() {
		t.Error("after the reset the pause has a time")
	}
	requirePaused(t, host, false, "after the reset")
}

func TestPause_Unreadable_CountsAsPaused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	p := journal.NewPause(file, "")
	if got, err := p.IsSet(); !got || !errors.Is(err, unix.ENOTDIR) || !strings.Contains(err.Error(), file) {
		t.Errorf("IsSet = %t, %v, want paused, and why", got, err)
	}
	for _, err := range []error{p.Set(), p.Clear()} {
		if !errors.Is(err, unix.ENOTDIR) {
			t.Errorf("Set or Clear = %v, want why it cannot be kept", err)
		}
	}
}
