// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
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
	return slices.DeleteFunc(scriptLines(t), func(line string) bool { return !strings.Contains(line, "ebpf-upgrader ") })
}

// scriptLines are the lines of all scripts, without their files.
func scriptLines(t *testing.T) []string {
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
			lines = append(lines, line)
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

// TestScripts_EveryFlag_HasABadValue: a script gives each flag that takes a value one that is refused, and reads an error
// that names the flag.
func TestScripts_EveryFlag_HasABadValue(t *testing.T) {
	t.Parallel()
	refused := make(map[string]bool)
	flag := regexp.MustCompile(`--([a-z-]+)`)
	lines := scriptLines(t)
	for i, line := range lines[:len(lines)-1] {
		if !strings.HasPrefix(line, "exits 2 ") || !strings.HasPrefix(lines[i+1], "stderr ") {
			continue
		}
		for _, given := range flag.FindAllStringSubmatch(line, -1) {
			if regexp.MustCompile(`--` + given[1] + `([^-a-z]|$)`).MatchString(lines[i+1]) {
				refused[given[1]] = true
			}
		}
	}
	for _, cmd := range everyCommand() {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Value.Type() != "bool" && !refused[f.Name] {
				t.Errorf("no script gives %s --%s a bad value: add one to testdata/script/flags.txtar", cmd.Name(), f.Name)
			}
		})
	}
}
