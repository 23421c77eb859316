// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestHoldUp_FileOpened_WaitsUntilGivenUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "document")
	if err := os.WriteFile(path, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	const long = 300 * time.Millisecond
	begin := time.Now()
	if err := holdUp(t.Context(), path, long); err != nil {
		t.Fatal(err)
	}
	if fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("an open that does not wait: %d, %v; want EAGAIN", fd, err)
	}
	text, err := os.ReadFile(path)
	if took := time.Since(begin); err != nil || string(text) != "text" || took < long {
		t.Errorf("read %q, %v after %s, want the text after %s at least", text, err, took, long)
	}
}
