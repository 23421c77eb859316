// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestScripts_EveryFlag_IsGiven: a script gives each flag to each command that has it. Help alone does not count.
func TestScripts_EveryFlag_IsGiven(t *testing.T) {
	t.Parallel()
	given := scriptCommandLines(t)
	root := newRoot(&app{started: new(bool)})
	for _, cmd := range root.Commands() {
		if cmd.Name() == "help" || cmd.Name() == "completion" {
			continue
		}
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if !isGiven(given, cmd, f) {
				t.Errorf("no script gives --%s to %s", f.Name, cmd.Name())
			}
		})
	}
}

// scriptCommandLines are the lines of all scripts that run a command.
func scriptCommandLines(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("find scripts: %v", err)
	}
	var lines []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		script, _, _ := strings.Cut(string(text), "\n-- ")
		for line := range strings.Lines(script) {
			if strings.Contains(line, "ebpf-upgrader ") {
				lines = append(lines, line)
			}
		}
	}
	return lines
}

func isGiven(lines []string, cmd *cobra.Command, f *pflag.Flag) bool {
	pattern := regexp.MustCompile(`ebpf-upgrader ` + cmd.Name() + ` (.* )?--` + f.Name + `( |$)`)
	if f.Shorthand != "" {
		pattern = regexp.MustCompile(`ebpf-upgrader ` + cmd.Name() + ` (.* )?(--` + f.Name + `|-` + f.Shorthand + `)( |$)`)
	}
	for _, line := range lines {
		if pattern.MatchString(strings.TrimSpace(line)) {
			return true
		}
	}
	return false
}
