// SPDX-License-Identifier: MIT

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"ebpf-upgrader/internal/kernels/guest"
)

// row is what became of one kernel.
type row struct {
	kernel
	release, source string
	// found is what doctor says of each thing that it looks at.
	found   map[string]string
	results map[string]guest.Result
	took    time.Duration
}

func newRow(k kernel, results []guest.Result, took time.Duration) (row, error) {
	r := row{kernel: k, found: make(map[string]string), results: make(map[string]guest.Result), took: took}
	for _, result := range results {
		r.results[result.Name] = result
	}
	var doctor struct {
		Checks []struct{ Check, Found string } `json:"checks"`
	}
	// Messages may follow.
	if err := json.NewDecoder(strings.NewReader(r.results[stepDoctor].Output)).Decode(&doctor); err != nil {
		return r, fmt.Errorf("%s: doctor wrote %q: %w", k.name, r.results[stepDoctor].Output, err)
	}
	for _, c := range doctor.Checks {
		r.found[c.Check] = c.Found
	}
	r.release = r.found["kernel"]
	var report struct{ Source string }
	if text := r.results[stepSource].Output; strings.Contains(text, "{") { // behind the messages
		if err := json.NewDecoder(strings.NewReader(text[strings.Index(text, "{\n"):])).Decode(&report); err != nil {
			return r, fmt.Errorf("%s: list wrote %q: %w", k.name, text, err)
		}
	}
	r.source = report.Source
	return r, nil
}

// wantedSource is what the program is to find servers with.
func (r row) wantedSource() string {
	if r.without == "" {
		return "bpf"
	}
	return "proc"
}

// failure is everything that went wrong on this kernel.
func (r row) failure() error {
	var errs []error
	if r.source != r.wantedSource() {
		errs = append(errs, fmt.Errorf("%s: servers are found by %q, want %q", r.name, r.source, r.wantedSource()))
	}
	if demo := r.results[stepDemo]; demo.Failure != "" || demo.Name == "" {
		errs = append(errs, fmt.Errorf("%s: demo: %s\n%s", r.name, demo.Failure, demo.Output))
	}
	for _, g := range r.groups() {
		result, ran := r.results[g.title]
		switch {
		case !ran:
			errs = append(errs, fmt.Errorf("%s: %s: did not run", r.name, g.title))
		case result.Failure != "" || passed(result) == 0 || strings.Contains(result.Output, "--- SKIP"):
			errs = append(errs, fmt.Errorf("%s: %s: %s\n%s", r.name, g.title, result.Failure, telling(result.Output)))
		}
	}
	return errors.Join(errs...)
}

// groups are those that were to run here.
func (r row) groups() []group {
	planned := make(map[string]bool)
	for _, s := range planFor(r.kernel).Steps {
		planned[s.Name] = true
	}
	var all []group
	for _, g := range groups() {
		if planned[g.title] {
			all = append(all, g)
		}
	}
	return all
}

// passed counts the tests of a step, without those within another.
func passed(r guest.Result) int { return strings.Count("\n"+r.Output, "\n--- PASS") }

// cell is a group's column.
func (r row) cell(g group) string {
	result, ran := r.results[g.title]
	failed := strings.Count("\n"+result.Output, "\n--- FAIL")
	switch {
	case !ran:
		return "–"
	case result.Failure != "":
		return fmt.Sprintf("**%d of %d failed**", failed, failed+passed(result))
	}
	return fmt.Sprint(passed(result))
}

func (r row) line() string {
	verdict := "ok"
	if r.failure() != nil {
		verdict = "FAILED"
	}
	return fmt.Sprintf("%-12s %-28s source %-5s %-7s %s", r.name, r.release, r.source, verdict, r.took.Round(time.Second))
}

// writeTable writes the document. It keeps the rows of kernels that were not run.
func writeTable(path string, rows []row) error {
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	lines := make(map[string]string)
	for line := range strings.Lines(string(old)) {
		if name, _, cells := strings.Cut(strings.TrimPrefix(line, "| "), " |"); cells {
			lines[name] = line
		}
	}
	for _, r := range rows {
		lines[r.name] = r.markdown()
	}
	all, err := kernels()
	if err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString("# Kernels\n\nWritten by `make test-kernels`, which boots kernels of Debian in an emulated machine and runs the tests in\n" +
		"them; `internal/kernels/kernels.txt` names the packages. A number is how many tests passed. Rows of a kernel\n" +
		"with something taken away show that the program falls back by itself.\n\n")
	b.WriteString("| kernel | release | taken away | servers are found by | rights |")
	for _, g := range groups() {
		fmt.Fprintf(&b, " %s |", g.title)
	}
	b.WriteString("\n|" + strings.Repeat("---|", 5+len(groups())) + "\n")
	for _, k := range all {
		b.WriteString(lines[k.name])
	}
	return os.WriteFile(path, []byte(b.String()), 0o644)
}

func (r row) markdown() string {
	cells := []string{r.name, r.release, orNothing(r.without), r.source, orNothing(r.found["afterwards"])}
	for _, g := range groups() {
		cells = append(cells, r.cell(g))
	}
	return "| " + strings.Join(cells, " | ") + " |\n"
}

func orNothing(s string) string {
	if s == "" {
		return "–"
	}
	return s
}
