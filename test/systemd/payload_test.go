// SPDX-License-Identifier: MIT

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestFirstBlock_BelowHeading_IsUnindented(t *testing.T) {
	const text = "# A\n\n    not this\n\n## Install\n\nWords:\n\n    one  # comment\n    two\n\nWords.\n\n    three\n\n## Empty\n\n## Last\n\n    four\n"
	for heading, want := range map[string]string{"## Install": "one  # comment\ntwo\n", "## Last": "four\n"} {
		if got, err := firstBlock(text, heading); got != want || err != nil {
			t.Errorf("below %s: %q, %v, want %q", heading, got, err, want)
		}
	}
	for _, heading := range []string{"## Empty", "## Missing"} {
		if got, err := firstBlock(text, heading); err == nil {
			t.Errorf("below %s: %q", heading, got)
		}
	}
}

// TestVersion_Tags_OrderOfDebian holds that no version is lower than an earlier one, by the rules of dpkg.
func TestVersion_Tags_OrderOfDebian(t *testing.T) {
	repository := t.TempDir()
	script, err := os.ReadFile("../../packaging/version")
	if err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(repository, "packaging")
	if err := os.Mkdir(at, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(at, "version"), script, 0o755); err != nil {
		t.Fatal(err)
	}
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", repository, "-c", "user.name=x", "-c", "user.email=x@example.org"}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_COMMITTER_DATE=2026-11-30T12:00:00Z")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	version := func() string {
		t.Helper()
		out, err := exec.Command(filepath.Join(at, "version")).Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	git("init", "--quiet")
	git("add", ".")
	var seen []string
	for _, tag := range []string{"", "v1.0.0-rc1", "", "v1.0.0", ""} {
		git("commit", "--quiet", "--allow-empty", "--message=x")
		if tag != "" {
			git("tag", tag)
		}
		seen = append(seen, version())
	}
	if err := os.WriteFile(filepath.Join(at, "version"), append(script, '\n'), 0o755); err != nil {
		t.Fatal(err)
	}
	seen = append(seen, version())
	t.Log(seen)
	if seen[1] != "1.0.0~rc1" || seen[3] != "1.0.0" || !strings.HasPrefix(seen[0], "0.0.0~git20261130.120000.") {
		t.Errorf("the versions are %v", seen)
	}
	if _, err := exec.LookPath("dpkg"); err != nil {
		return // not a Debian machine
	}
	for i := range seen[1:] {
		if err := exec.Command("dpkg", "--compare-versions", seen[i], "lt", seen[i+1]).Run(); err != nil {
			t.Errorf("dpkg: %s is not lower than %s: %v", seen[i], seen[i+1], err)
		}
	}
}
