// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// written is every page by its name.
func written(t *testing.T) map[string]string {
	t.Helper()
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	folder := t.TempDir()
	if err := write(folder); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(folder, "man8", "*.8"))
	if err != nil || len(files) < 10 {
		t.Fatalf("%d pages, %v", len(files), err)
	}
	lint(t, filepath.Join(folder, "man5", "ebpf-upgrader.toml.5"))
	pages := make(map[string]string)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		pages[strings.TrimSuffix(filepath.Base(file), ".8")] = string(text)
		lint(t, file)
	}
	return pages
}

// lint runs mandoc over a page, where it is installed.
func lint(t *testing.T, file string) {
	t.Helper()
	mandoc, err := exec.LookPath("mandoc")
	if err != nil {
		return
	}
	if out, err := exec.Command(mandoc, "-Tlint", "-Wstyle", file).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("mandoc: %v\n%s", err, out)
	}
}

func TestPages_EachCommand_HasItsOwn(t *testing.T) {
	pages := written(t)
	for name, text := range pages {
		title := `.TH "` + strings.ReplaceAll(strings.ToUpper(name), "-", `\-`) + `" 8 2023-11-14 `
		if !strings.HasPrefix(text, title) {
			t.Errorf("%s begins with %.60q, want %q", name, text, title)
		}
		for _, section := range []string{"NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "ENVIRONMENT", "SEE ALSO"} {
			if !strings.Contains(text, "\n.SH "+section+"\n") {
				t.Errorf("%s has no %s", name, section)
			}
		}
		for line := range strings.SplitSeq(text, "\n") {
			if strings.Contains(line, "\t") {
				t.Errorf("%s has a tab in %q", name, line)
			}
		}
	}
	for page, sections := range map[string][]string{
		"ebpf-upgrader":        {"COMMANDS", "FILES", "SIGNALS"},
		"ebpf-upgrader-run":    {"FILES", "SIGNALS", "METRICS", "EXAMPLES"},
		"ebpf-upgrader-status": {"FILES"},
	} {
		for _, section := range sections {
			if !strings.Contains(pages[page], "\n.SH "+section+"\n") {
				t.Errorf("%s has no %s", page, section)
			}
		}
	}
}

func TestRoff_Text_IsNotReadAsMacros(t *testing.T) {
	t.Parallel()
	r := &roff{}
	r.text(".TH is text\n\n  'code' \\n\n\n--flag a-b")
	want := ".PP\n\\&.TH is text\n.PP\n.RS 2\n.nf\n\\&'code' \\en\n.fi\n.RE\n.PP\n\\-\\-flag a-b\n"
	if got := r.String(); got != want {
		t.Errorf("got\n%q, want\n%q", got, want)
	}
}
