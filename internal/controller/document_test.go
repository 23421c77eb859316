// SPDX-License-Identifier: MIT

package controller_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"ebpf-upgrader/internal/rollout"
)

// stepWords are the steps in the words of the document.
var stepWords = map[rollout.Step]string{
	rollout.FoundOutdated: "found outdated",
	rollout.Rejected:      "rejected",
	rollout.FoundCurrent:  "found current",
	rollout.FoundUnarmed:  "found unarmed in the installed image",
	rollout.Sent:          "signal sent",
	rollout.Execed:        "exec",
	rollout.ExecedOther:   "exec of another file",
	rollout.Late:          "confirm timeout",
	rollout.Exhausted:     "confirm timeout at the last attempt",
	rollout.Lived:         "lived for the hold time",
	rollout.Ended:         "session ended",
	rollout.Died:          "died",
}

// TestDocument_States_AreThoseOfTheCode holds the table in docs/ARCHITECTURE.md against the code.
func TestDocument_States_AreThoseOfTheCode(t *testing.T) {
	t.Parallel()
	var table strings.Builder
	fmt.Fprintln(&table, "| from | step | to |\n|---|---|---|")
	for _, a := range rollout.Transitions() {
		fmt.Fprintf(&table, "| %s | %s | %s |\n", a.From, stepWords[a.Step], a.To)
	}
	document, err := os.ReadFile("../../docs/ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(document), table.String()) {
		t.Errorf("docs/ARCHITECTURE.md lacks this table, which the code has:\n%s", table.String())
	}
}
