// SPDX-License-Identifier: MIT

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ebpf-upgrader/test/report"
)

func TestRows_SystemBootedAgain_OthersStay(t *testing.T) {
	const text = "[ 1.0] console\n@@ ok install (1s)\r\n@@ ok purge (2s)\r\n@@ done 6.1.0 | 252 | bpf | yes (lsm)\r\n"
	l, ok := parseLife([]byte(text))
	if !ok || l.steps != 2 {
		t.Fatalf("parseLife = %+v, %t", l, ok)
	}
	if _, ok := parseLife([]byte(strings.ReplaceAll(text, "done", "FAIL"))); ok {
		t.Error("a life that failed counts as done")
	}
	path := filepath.Join(t.TempDir(), "KERNELS.md")
	if err := os.WriteFile(path, []byte("before\n"+report.SystemsSection.Begin+report.SystemsSection.End+"behind\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, row := range []string{l.row("a", time.Second), l.row("b", time.Second), l.row("a", time.Minute)} {
		if err := writeRow(path, row); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := "before\n" + report.SystemsSection.Begin + "\n" + head + l.row("a", time.Minute) + l.row("b", time.Second) + "\n" +
		report.SystemsSection.End + "behind\n"
	if string(got) != want {
		t.Errorf("the document is\n%s, want\n%s", got, want)
	}
	if !strings.Contains(want, "| a | 6.1.0 | 252 | bpf | yes (lsm) | 2 | 1m0s | ") {
		t.Error(want)
	}
}

// make test-kernels writes the rest of the document, and keeps this section.
func TestKernels_Document_HasSystemsSection(t *testing.T) {
	text, err := os.ReadFile("../../docs/KERNELS.md")
	if err != nil {
		t.Fatal(err)
	}
	if _, in, _, err := report.SystemsSection.Cut(string(text)); err != nil || !strings.Contains(in, head) {
		t.Errorf("docs/KERNELS.md: %v, %q", err, in)
	}
}
