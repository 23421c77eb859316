// SPDX-License-Identifier: MIT

package controller_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"ebpf-upgrader/internal/rollout"
)

// TestDocument_States_AreThoseOfTheCode holds the table in docs/ARCHITECTURE.md against the code.
func TestDocument_States_AreThoseOfTheCode(t *testing.T) {
	t.Parallel()
	var table strings.Builder
	fmt.Fprintln(&table, "| from | step | to |\n|---|---|---|")
	for _, a := range rollout.Transitions() {
		fmt.Fprintf(&table, "| %s | %s | %s |\n", a.From, a.Step, a.To)
	}
	document, err := os.ReadFile("../../docs/ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(document), table.String()) {
		t.Errorf("docs/ARCHITECTURE.md lacks this table, which the code has:\n%s", table.String())
	}
}
