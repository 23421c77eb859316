// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ebpf-upgrader/test/report"
)

// written makes both documents for a kernel without failures.
func written(t *testing.T) (docs, readme string, row cells) {
	t.Helper()
	k := kernel{name: "6.1"}
	row = newRow(k, seen(t, k), nil).cells()
	docs, readme = filepath.Join(t.TempDir(), "KERNELS.md"), filepath.Join(t.TempDir(), "README.md")
	if err := os.WriteFile(readme, []byte("before\n"+readmeSection.Begin+"old\n"+readmeSection.End+"behind\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	if err := errors.Join(writeDocument(docs, at, []cells{row}), writeReadme(readme, []cells{row})); err != nil {
		t.Fatal(err)
	}
	return docs, readme, row
}

func TestDocuments_Written_AreReadTheSame(t *testing.T) {
	docs, readme, row := written(t)
	if err := errors.Join(compareDocument(docs, []cells{row}), compareReadme(readme, []cells{row})); err != nil {
		t.Error(err)
	}
	text, err := os.ReadFile(docs)
	if err != nil || !strings.Contains(string(text), "`make test-kernels` on 2026-11-27") {
		t.Errorf("no date or command: %v\n%s", err, text)
	}
	if got := readTables(string(text))["6.1"]; !maps.Equal(got, row) {
		t.Errorf("read %v, want %v", got, row)
	}
	text, err = os.ReadFile(readme)
	if err != nil || !strings.HasPrefix(string(text), "before\n"+readmeSection.Begin+"| kernel |") || !strings.HasSuffix(string(text), readmeSection.End+"behind\n") {
		t.Errorf("the rest changed: %v\n%s", err, text)
	}
}

func TestCompare_Difference_IsOneLine(t *testing.T) {
	docs, readme, row := written(t)
	for head, c := range map[string]struct {
		now          string
		docs, readme bool
	}{
		headSource:       {"proc", true, true},
		headSignals:      {"no: why", true, true},
		headGate:         {"no: why", true, true},
		headExits:        {"/proc", true, false},
		headCapabilities: {"no", true, true},
		"tracker":        {"2", true, true},
		headRelease:      {"6.1.0-2", false, false},
		headFirst:        {"delivery", false, false},
	} {
		now := maps.Clone(row)
		now[head] = c.now
		for path, result := range map[string]struct {
			err  error
			want bool
		}{docs: {compareDocument(docs, []cells{now}), c.docs}, readme: {compareReadme(readme, []cells{now}), c.readme}} {
			if (result.err != nil) != result.want {
				t.Errorf("%s: %q: %v, want a difference: %t", filepath.Base(path), head, result.err, result.want)
			}
			if result.err != nil && (strings.Contains(result.err.Error(), "\n") || !strings.Contains(result.err.Error(), "6.1 (")) {
				t.Errorf("%q: want one line with the kernel, got %v", head, result.err)
			}
		}
	}
}

func TestCompare_MissingKernel_Differs(t *testing.T) {
	docs, readme, row := written(t)
	other := maps.Clone(row)
	other[headKernel] = "6.12"
	for _, err := range []error{compareDocument(docs, []cells{other}), compareReadme(readme, []cells{other})} {
		if err == nil || !strings.Contains(err.Error(), "6.12") {
			t.Errorf("compare = %v, want an error about 6.12", err)
		}
	}
}

func TestReadme_NoSection_IsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "README.md")
	if err := os.WriteFile(path, []byte(readmeSection.Begin+"no end\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := writeReadme(path, nil); !errors.Is(err, report.ErrNoSection) {
		t.Errorf("writeReadme = %v", err)
	}
	if err := compareReadme(path, []cells{{}}); !errors.Is(err, report.ErrNoSection) {
		t.Errorf("compareReadme = %v", err)
	}
}

func TestRecord_SomeKernels_ComparesOnly(t *testing.T) {
	docs, readme, _ := written(t)
	before, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	k := kernel{name: "6.1"}
	good := newRow(k, seen(t, k), nil)
	o := options{only: "6.1", docs: docs, readme: readme}
	if err := o.record([]row{good}); err != nil {
		t.Error(err)
	}
	good.source = "proc"
	if err := o.record([]row{good}); err != nil { // it failed, which is reported elsewhere
		t.Error(err)
	}
	good.source, good.facilities.Exits = "bpf", "/proc"
	if err := o.record([]row{good}); err == nil {
		t.Error("a difference is no error")
	}
	if after, err := os.ReadFile(docs); err != nil || string(after) != string(before) {
		t.Errorf("the document changed: %v\n%s", err, after)
	}
}

func TestDocument_WrittenAgain_KeepsSystems(t *testing.T) {
	docs, _, row := written(t)
	first, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	const systems = headSystems + "\nof make test-systemd\n"
	if err := os.WriteFile(docs, append(first, systems...), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := writeDocument(docs, time.Now(), []cells{row}); err != nil {
		t.Fatal(err)
	}
	if again, err := os.ReadFile(docs); err != nil || !strings.HasSuffix(string(again), systems) {
		t.Errorf("the document ends with %q, %v", again[len(first)-20:], err)
	}
}
