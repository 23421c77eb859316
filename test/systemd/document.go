// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"ebpf-upgrader/test/report"
)

// head is the table of systems in docs/KERNELS.md.
const head = "| system | kernel | systemd | servers are found by | gate | steps | took | on |\n|---|---|---|---|---|---|---|---|\n"

// lived is what a system that reached the end of its life has said.
type lived struct {
	// facts are the kernel, systemd, the source and the gate.
	facts string
	steps int
}

// parseLife reads the lines of the steps. ok is false if the life ended early.
func parseLife(text []byte) (l lived, ok bool) {
	for line := range bytes.Lines(text) {
		rest, ours := strings.CutPrefix(strings.TrimSpace(string(line)), "@@ ")
		facts, done := strings.CutPrefix(rest, "done ")
		switch {
		case !ours:
		case done:
			l.facts, ok = facts, true
		case strings.HasPrefix(rest, "ok "):
			l.steps++
		}
	}
	return l, ok
}

// row formats the row of a system.
func (l lived) row(system string, took time.Duration) string {
	return fmt.Sprintf("| %s | %s | %d | %s | %s |\n", system, l.facts, l.steps, took.Round(time.Second), report.Today())
}

// writeRow replaces the row of a system, and keeps the others; nothing if the path is empty.
func writeRow(path, row string) error {
	if path == "" {
		return nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	_, in, _, err := report.SystemsSection.Cut(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	_, old, _ := strings.Cut(in, head)
	all := slices.Collect(strings.Lines(strings.TrimSuffix(old, "\n")))
	system := strings.Join(strings.SplitN(row, "|", 3)[:2], "|") + "|"
	at := slices.IndexFunc(all, func(line string) bool { return strings.HasPrefix(line, system) })
	if at < 0 {
		at, all = len(all), append(all, "")
	}
	all[at] = row
	return report.SystemsSection.Write(path, "\n"+head+strings.Join(all, "")+"\n")
}
