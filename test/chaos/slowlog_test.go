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

func TestSlowLog_Held_PipeFills(t *testing.T) {
	t.Parallel()
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	var l slowLog
	l.mu.Lock()
	writer, copied, err := l.pipe(file)
	if err != nil {
		t.Fatal(err)
	}
	fd := int(writer.Fd())
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	wrote := 0
	for err == nil {
		var n int
		n, err = unix.Write(fd, make([]byte, 1024))
		wrote += max(0, n)
	}
	if !errors.Is(err, unix.EAGAIN) || wrote > 16*os.Getpagesize() {
		t.Errorf("wrote %d bytes, then %v, want a full pipe", wrote, err)
	}
	l.mu.Unlock()
	_ = writer.Close()
	select {
	case <-copied:
	case <-time.After(30 * time.Second):
		t.Fatal("the copy does not end with its writer")
	}
	if info, err := os.Stat(file.Name()); err != nil || info.Size() != int64(wrote) {
		t.Errorf("the log has %v, %v, want %d bytes", info, err, wrote)
	}
}
