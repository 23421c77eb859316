// SPDX-License-Identifier: MIT

package main

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// Both documents have the kernels of the list in its order, and the same cells.
func TestDocuments_Committed_AreOfOneRun(t *testing.T) {
	text, err := os.ReadFile("../../docs/KERNELS.md")
	if err != nil {
		t.Fatal(err)
	}
	all, err := kernels()
	if err != nil {
		t.Fatal(err)
	}
	tables := readTables(string(text))
	var rows []cells
	for _, k := range all {
		row := tables[k.name]
		for _, head := range slices.Concat(factHeads(), testHeads()) {
			if row[head] == "" {
				t.Fatalf("docs/KERNELS.md has no %q of %s: run make test-kernels", head, k.name)
			}
		}
		rows = append(rows, row)
	}
	for _, want := range []string{table(factHeads(), rows), table(testHeads(), rows)} {
		if !strings.Contains(string(text), want) {
			t.Errorf("docs/KERNELS.md lacks the table\n%s", want)
		}
	}
	readme, err := os.ReadFile("../../docs/COMPATIBILITY.md")
	if err != nil {
		t.Fatal(err)
	}
	_, between, _, err := readmeSection.Cut(string(readme))
	if want := table(shortHeads(), shortened(rows)); err != nil || between != want {
		t.Errorf("docs/COMPATIBILITY.md has\n%s, %v; docs/KERNELS.md gives\n%s", between, err, want)
	}
}
