// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ebpf-upgrader/test/report"
)

func TestWriteDocument_TextBehindTail_Stays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "doc.md")
	if err := os.WriteFile(path, []byte("old\n"+tail+"of others\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := &results{Sections: map[string]section{}}
	if err := r.writeDocument(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil || !strings.HasPrefix(string(text), "# Benchmarks\n") || !strings.HasSuffix(string(text), "\n"+tail+"of others\n") {
		t.Errorf("%v, the document is\n%s", err, text)
	}
	if err := os.WriteFile(path, []byte("without the line"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.writeDocument(path); !errors.Is(err, report.ErrNoSection) {
		t.Errorf("a document without the line: %v, want %v", err, report.ErrNoSection)
	}
}
