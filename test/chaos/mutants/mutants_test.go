// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"strings"
	"testing"
)

func TestMutants_Source_HasTheirTexts(t *testing.T) {
	t.Parallel()
	for _, m := range mutants {
		if _, err := m.write("../../..", t.TempDir()); err != nil {
			t.Error(err)
		}
	}
}

func TestWrite_TextChanged_Fails(t *testing.T) {
	t.Parallel()
	m := mutant{name: "old", edits: []edit{{"go.mod", "no such text", ""}}}
	if _, err := m.write("../../..", t.TempDir()); err == nil || !strings.Contains(err.Error(), "mend the mutant") {
		t.Errorf("err = %v", err)
	}
}

func TestRead_Reports_AreFoundOrOthers(t *testing.T) {
	t.Parallel()
	out := "seed 5\n  BROKEN: the moon is late\n  BROKEN: server 7 died of x\n  BROKEN: server 8 died of x\n"
	tr := trial{mutant: mutant{breaks: "died of"}}
	if tr.read(out); tr.found != "server 7 died of x" || tr.others != 1 || !tr.isFine() {
		t.Errorf("found %q, %d others", tr.found, tr.others)
	}
	tr = trial{}
	if tr.read(out); tr.others != 3 || tr.isFine() {
		t.Errorf("without a defect: %d others", tr.others)
	}
}
