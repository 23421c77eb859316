// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestDocument_LongerRun_ReplacesFigures(t *testing.T) {
	path := filepath.Join(t.TempDir(), "doc.md")
	old := "before\n" + section.Begin + "3m0s" + closing + "\nold\n\n" + section.End + "\nafter\n"
	if err := os.WriteFile(path, []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	results := []result{{For: time.Minute, Servers: 7}, {For: time.Minute, FewPIDs: true, Limited: true, Servers: 8}}
	if err := document(path, config{For: 2 * time.Minute}, results); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(path); string(text) != old {
		t.Errorf("after a shorter run the document is\n%s", text)
	}
	if err := document(path, config{Seed: 5, For: 4 * time.Minute}, results); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(path)
	for _, want := range []string{
		"before\n" + section.Begin + "4m0s" + closing + "\n", "    make chaos FOR=4m0s SEED=5\n", "\n| servers | 7 | 8 |\n", "|\n\n" + section.End + "\nafter\n",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}
