// SPDX-License-Identifier: MIT

package report

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestSectionWrite_OtherText_Stays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "doc.md")
	s := Section{Begin: "<begin>\n", End: "<end>\n"}
	if err := os.WriteFile(path, []byte("before\n<begin>\nold\n<end>\nafter\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(path, "new\n"); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "before\n<begin>\nnew\n<end>\nafter\n" {
		t.Errorf("%v, the document is\n%s", err, text)
	}
}

func TestSectionWrite_LineMissing_IsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "doc.md")
	for _, text := range []string{"", "<begin>", "<end>", "<end> <begin>"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := (Section{Begin: "<begin>", End: "<end>"}).Write(path, "new"); !errors.Is(err, ErrNoSection) {
			t.Errorf("%q: %v, want %v", text, err, ErrNoSection)
		}
		if now, _ := os.ReadFile(path); string(now) != text {
			t.Errorf("%q became %q", text, now)
		}
	}
}

func TestStore_Reopened_HasEarlierResults(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results")
	for _, want := range [][]string{{"a"}, {"a", "b"}} {
		s, err := OpenStore[string](path)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Add(want[len(want)-1]); err != nil || !slices.Equal(s.Results, want) {
			t.Errorf("results %q, %v; want %q", s.Results, err, want)
		}
	}
	if err := os.WriteFile(path, []byte("{cut"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenStore[string](path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a file that is cut: %v, want an error with its path", err)
	}
}

func TestChoose_Pattern_MatchesWholeNames(t *testing.T) {
	self := func(s string) string { return s }
	all := []string{"good-1w", "good-10w", "exit1-1w"}
	chosen, err := Choose("exit1-1w|good-1w", all, self)
	if want := []string{"good-1w", "exit1-1w"}; err != nil || !slices.Equal(chosen, want) {
		t.Errorf("chosen %q, %v; want %q", chosen, err, want)
	}
	for _, pattern := range []string{"good", "("} {
		if _, err := Choose(pattern, all, self); err == nil {
			t.Errorf("pattern %q is no error", pattern)
		}
	}
}
