// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"os"
	"strings"
	"testing"

	"ebpf-upgrader/selector"
)

func TestUsage_EveryVerdict_IsInItsTable(t *testing.T) {
	t.Parallel()
	usage, err := os.ReadFile("../../docs/USAGE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(usage), "## The verdicts")
	table, _, _ = strings.Cut(table, "\n#")
	for _, v := range selector.Verdicts() {
		if !strings.Contains(table, "`"+v.String()+"`") {
			t.Errorf("the table of verdicts in docs/USAGE.md lacks %q", v)
		}
	}
}

// TestUsage_StagingFlags_AreInItsTable: the flags of the groups for staged files and fleets, as the help has them.
func TestUsage_StagingFlags_AreInItsTable(t *testing.T) {
	t.Parallel()
	usage, err := os.ReadFile("../../docs/USAGE.md")
	must(t, err)
	_, table, _ := strings.Cut(string(usage), "## Flags that matter")
	table, _, _ = strings.Cut(table, "\n## ")
	seen := 0
	for _, g := range flagGroups {
		if g.title != "Fleet" && g.title != "Staged files" {
			continue
		}
		for f := range strings.FieldsSeq(g.flags) {
			name, _, _ := strings.Cut(f, "=")
			seen++
			if !strings.Contains(table, "`--"+name+"`") {
				t.Errorf("the table of flags in docs/USAGE.md lacks --%s", name)
			}
		}
	}
	if seen == 0 {
		t.Error("no group of flags was found")
	}
}
