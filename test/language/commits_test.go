// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheckSubject_Forms_JudgedByTheRule(t *testing.T) {
	for _, test := range []struct {
		subject string
		wrong   bool
	}{
		{"tracker: drop the second map", false},
		{"internal/procfs: read stat once", false},
		{"api, cli: rename two states", false},
		{"bench: seed the storms", false},
		{"budget: pass the clock", false},
		{"docs: " + strings.Repeat("a", maxSubject-len("docs: ")), false},
		{"docs: " + strings.Repeat("a", maxSubject+1-len("docs: ")), true},
		{"docs: the calls that real agents lose, measured", true},
		{"docs: describing the gate", true},
		{"docs: described the gate", true},
		{"docs: describes the gate", true},
		{"docs: Describe the gate", true},
		{"docs: describe the gate.", true},
		{"Docs: describe the gate", true},
		{"describe the gate", true},
		{"docs:describe the gate", true},
		{"fixup! docs: describe the gate", true},
	} {
		if problem := checkSubject(test.subject); (problem != "") != test.wrong {
			t.Errorf("%s: %q", test.subject, problem)
		}
	}
}

// commit adds a file to a repository.
func commit(t *testing.T, folder, file, subject string) {
	t.Helper()
	path := filepath.Join(folder, file)
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(subject), 0o666); err != nil {
		t.Fatal(err)
	}
	mustGit(t, "-C", folder, "add", ".")
	mustGit(t, "-C", folder, "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-q", "-m", subject)
}

// repository makes an empty one. The user's configuration of git has no effect on it.
func repository(t *testing.T) (folder string) {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	t.Setenv("GIT_CONFIG_GLOBAL", os.DevNull)
	folder = t.TempDir()
	mustGit(t, "init", "-q", folder)
	return folder
}

func mustGit(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("git", args...).CombinedOutput(); err != nil {
		t.Fatalf("git %v: %v: %s", args, err, out)
	}
}

func TestCheckCommits_OlderThanRule_Exempt(t *testing.T) {
	folder := repository(t)
	commit(t, folder, "a", "An old subject")
	commit(t, folder, ruleFile, "The subject of the rule itself")
	commit(t, folder, "b", "docs: describe the gate")
	var out bytes.Buffer
	if err := checkCommits(folder, &out); err != nil {
		t.Fatalf("%v: %s", err, &out)
	}

	commit(t, folder, "c", "A new subject")
	if err := checkCommits(folder, &out); !errors.Is(err, errFindings) || !strings.Contains(out.String(), "A new subject") {
		t.Errorf("checkCommits returned %v: %s", err, &out)
	}
}

func TestCheckCommits_ShallowClone_ChecksWhatIsThere(t *testing.T) {
	folder, clone := repository(t), filepath.Join(t.TempDir(), "clone")
	commit(t, folder, ruleFile, "test: check subjects")
	commit(t, folder, "a", "Too old for the clone")
	commit(t, folder, "b", "docs: describe the gate")
	commit(t, folder, "c", "A new subject")
	mustGit(t, "clone", "-q", "--depth", "2", "file://"+folder, clone)
	var out bytes.Buffer
	if err := checkCommits(clone, &out); !errors.Is(err, errFindings) {
		t.Errorf("checkCommits returned %v", err)
	}
	if !strings.Contains(out.String(), "A new subject") || !strings.Contains(out.String(), "1 commit subjects checked") {
		t.Errorf("one commit is there and newer than the rule: %s", &out)
	}
}
