// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestLimitShared_TwoRuns_LastRestores(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lock, setting := filepath.Join(dir, "lock"), filepath.Join(dir, "setting")
	want := func(value, when string) {
		t.Helper()
		if text, _ := os.ReadFile(setting); string(text) != value {
			t.Errorf("%s the setting is %q, want %q", when, text, value)
		}
	}
	if err := os.WriteFile(setting, []byte("16384"), 0o600); err != nil {
		t.Fatal(err)
	}
	var restores [2]func() error
	for n := range restores {
		var err error
		if restores[n], err = limitShared(lock, setting, "8"); err != nil {
			t.Fatal(err)
		}
	}
	want("8", "with two runs")
	if err := restores[0](); err != nil {
		t.Error(err)
	}
	want("8", "with one run left")
	if err := restores[1](); err != nil {
		t.Error(err)
	}
	want("16384", "after both")
}
