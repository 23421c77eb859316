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
