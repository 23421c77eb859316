// SPDX-License-Identifier: MIT

// Package report keeps the results of measurements in files and writes their tables into documents.
package report

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// Section is the part of a document between two lines. A program writes the section and leaves the rest alone.
type Section struct{ Begin, End string }

// SystemsSection is the part of docs/KERNELS.md that make test-systemd writes. make test-kernels writes the rest.
var SystemsSection = Section{Begin: "<!-- systems: written by make test-systemd DOCS=docs/KERNELS.md -->\n", End: "<!-- systems: end -->\n"}

// ErrNoSection means that a document lacks the lines that enclose a section.
var ErrNoSection = errors.New("the lines that enclose the section are missing")

// Cut splits the text of a document into the parts before, in and after the section.
func (s Section) Cut(text string) (before, in, after string, err error) {
	before, rest, begins := strings.Cut(text, s.Begin)
	in, after, ends := strings.Cut(rest, s.End)
	if !begins || !ends {
		return "", "", "", fmt.Errorf("%w: %q and %q", ErrNoSection, s.Begin, s.End)
	}
	return before, in, after, nil
}

// Write replaces the text of the section in the document at path.
func (s Section) Write(path, text string) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, _, after, err := s.Cut(string(old))
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.WriteFile(path, []byte(before+s.Begin+text+s.End+after), 0o644)
}

// Machine describes this machine in words that follow a date. The load is part of it: other work on the same
// processors delays a signal more than anything else.
func Machine() string {
	text := fmt.Sprintf(" on %d processors", runtime.NumCPU())
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		text += ", Linux " + strings.TrimSpace(string(release))
	}
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		fields := strings.Fields(string(load))
		text += fmt.Sprintf(", load average %s at the end", fields[min(2, len(fields)-1)])
	}
	return text
}

// Today returns the date in UTC.
func Today() string { return time.Now().UTC().Format(time.DateOnly) }
