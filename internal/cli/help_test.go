// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// everyCommand is the program's commands, those of commands and the program itself included.
func everyCommand() []*cobra.Command {
	var all []*cobra.Command
	var visit func(*cobra.Command)
	visit = func(cmd *cobra.Command) {
		all = append(all, cmd)
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
	}
	visit(newRoot(&app{started: new(bool)}))
	return all
}

func TestHelp_EveryFlag_HasGroupAndValue(t *testing.T) {
	t.Parallel()
	value := regexp.MustCompile(`^([A-Z]+(\|[A-Z]+%)?)?$`)
	flags := 0
	for _, cmd := range everyCommand() {
		for _, g := range FlagGroups(cmd) {
			for _, f := range g.Flags {
				flags++
				if g.Title == othersTitle {
					t.Errorf("%s --%s: add it to flagGroups in help_flags.go", cmd.Name(), f.Name)
				}
				if !value.MatchString(f.Value) || f.Value == "TEXT" {
					t.Errorf("%s --%s: shows %q in place of its value: say in flagGroups what it is", cmd.Name(), f.Name, f.Value)
				}
			}
		}
	}
	if flags < 100 {
		t.Errorf("%d flags were looked at", flags)
	}
}

// TestHelp_EveryCommand_HasExitCodes: each command has its own exit codes, and its help fits a narrow terminal.
func TestHelp_EveryCommand_HasExitCodes(t *testing.T) {
	t.Parallel()
	for _, cmd := range everyCommand() {
		if !cmd.HasParent() || cmd.IsAdditionalHelpTopicCommand() || cmd.Name() == "help" {
			continue
		}
		codes := ExitCodes(cmd)
		if len(codes) < 2 || codes[0].Code != exitOK {
			t.Errorf("%s: add its needs and exit codes to commandDocs in help_commands.go", cmd.CommandPath())
		}
		for line := range strings.SplitSeq(string(usage(cmd, narrowest)), "\n") {
			if len(line) > narrowest && !strings.Contains(line, "ebpf-upgrader ") { // an example is as long as it is
				t.Errorf("help of %s: a line of %d columns: %q", cmd.CommandPath(), len(line), line)
			}
		}
	}
}

func TestHelp_Text_NoTypesOfGo(t *testing.T) {
	t.Parallel()
	types := regexp.MustCompile(`stringArray|int32|uint32|\[=|0m0s|default "`)
	for _, cmd := range everyCommand() {
		if found := types.Find(usage(cmd, narrowest)); found != nil {
			t.Errorf("help of %s has %q", cmd.CommandPath(), found)
		}
	}
}
