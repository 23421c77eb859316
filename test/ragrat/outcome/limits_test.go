// SPDX-License-Identifier: MIT

package outcome

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestBroken_EachBound_IsALine(t *testing.T) {
	one := Result{Scenario: "exit1-2w", Mode: Gate, From: "0.3.2", To: "exit 1", Sessions: 10, Dead: 1, Phase: "halted"}
	two, none, silent, complete := one, one, one, one
	two.Dead, none.Dead, silent.Silent, complete.Phase = 2, 0, 1, "complete"
	missed := Result{Scenario: "good-5w", Mode: Gate, Sessions: 10, Upgraded: 9, Missed: 1}
	for _, c := range []struct {
		result Result
		want   string
	}{
		{one, ""},
		{two, "2 of 10 sessions lost, want 1"},
		{none, "0 of 10 sessions lost, want 1"},
		{silent, "2 of 10 sessions lost, want 1"},
		{complete, `the rollout is "complete", want "halted"`},
		{missed, "servers missed: 1, want 0"},
		{Result{Scenario: "exit1-2w", Mode: Alone, Sessions: 10, Dead: 10}, ""},
	} {
		got := strings.Join(Broken([]Result{c.result}), "\n")
		if c.want == "" && got != "" || !strings.HasSuffix(got, c.want) || strings.Contains(got, "\n") {
			t.Errorf("%v: %q, want %q", c.result, got, c.want)
		}
	}
}

func TestWrite_Tables_ReplaceSections(t *testing.T) {
	path := filepath.Join(t.TempDir(), "doc.md")
	old := "before\n" + measured.Begin + "old\n" + measured.End + "behind\n" + onKernels.Begin + onKernels.End
	if err := os.WriteFile(path, []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	rounds := []Result{
		{Scenario: "good-5w", Mode: Alone, From: "1.0.0", To: "1.0.0", Sessions: 10, Dead: 3},
		{Scenario: "good-5w", Mode: Alone, From: "1.0.0", To: "1.0.0", Sessions: 7},
	}
	if err := Write(path, []State{{"1.0.0", "without", "fatal", "handler"}}, rounds); err != nil {
		t.Fatal(err)
	}
	if err := WriteKernels(path, []OnKernel{{"6.1", rounds[0]}, {"6.12", rounds[1]}}); err != nil {
		t.Fatal(err)
	}
	if err := WriteKernels(path, []OnKernel{{"5.10", rounds[0]}, {"6.12", rounds[0]}}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for line := range strings.Lines(string(text)) {
		if name, found := strings.CutPrefix(line, "Linux "); found {
			order = append(order, name[:strings.IndexByte(name, ',')])
		}
	}
	if want := []string{"5.10", "6.1", "6.12"}; !slices.Equal(order, want) {
		t.Errorf("tables of %q, want %q: each kernel once", order, want)
	}
	for _, want := range []string{
		"before\n" + measured.Begin, measured.End + "behind\n" + onKernels.Begin, "| 1.0.0 | without | fatal | handler |\n",
		"| good-5w | 1.0.0 | alone | 7 to 10 | 0 to 3 |", "Linux 6.1, measured on ",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if strings.Contains(string(text), "old") {
		t.Errorf("the old table is still in\n%s", text)
	}
}
