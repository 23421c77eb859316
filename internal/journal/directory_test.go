// SPDX-License-Identifier: MIT

//go:build linux

package journal_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/journal"
	"ebpf-upgrader/selector"
)

func TestOpen_Services_HaveOwnFiles(t *testing.T) {
	dir := t.TempDir()
	for i, path := range []string{"", "/b", "/b\x00/c", "/\xfe"} {
		f, got, err := open(t, dir, path)
		if got != nil || err != nil {
			t.Fatalf("Open(%q) gave %+v, %v", path, got, err)
		}
		must(t, f.Save(saved(selector.PID(i+1))))
	}
	for i, path := range []string{"", "/b", "/b\x00/c", "/\xfe"} {
		_, got, err := open(t, dir, path)
		must(t, err)
		check(t, got, saved(selector.PID(i+1)))
	}
}

func TestOpen_DirectoryUnusable_Fails(t *testing.T) {
	parent := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(parent, nil, 0o600))
	dir := filepath.Join(parent, "dir")
	if f, got, err := journal.Open(dir, installPath); f != nil || !errors.Is(err, unix.ENOTDIR) || !strings.Contains(err.Error(), dir) {
		t.Errorf("Open = %v, %+v, %v, want the error that %s is no directory", f, got, err, parent)
	}
}

func TestSave_DirectoryRemoved_IsMadeAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dir")
	f, _ := mustOpen(t, dir)
	must(t, os.WriteFile(dir, nil, 0o600))
	if err := f.Save(saved(1)); !errors.Is(err, unix.ENOTDIR) || !strings.HasPrefix(err.Error(), `write journal "`+dir) {
		t.Errorf("Save gave %v", err)
	}
	must(t, os.Remove(dir))
	must(t, f.Flush())
	_, got := mustOpen(t, dir)
	check(t, got, saved(1))
}
