// SPDX-License-Identifier: MIT

package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// flagGroups are the flags by what they are for, in the order of help, each with what stands for its value. A flag that is
// in none is among the last, and the type of its value is shown.
var flagGroups = []struct{ title, flags string }{
	{"Which servers", `install-path=PATH user=USER container=ID no-containers name=NAME subcommand=ARGUMENT env=VARIABLE
		signal=SIGNAL self=PID all`},
	{"How careful", `dry-run canary=N canary-timeout group-hold hold quiet quiet-within settle confirm-timeout
		arm-timeout retry-after max-attempts=N max-failures=N max-late=N late-within max-in-flight=N|P% gate=MODE`},
	{"How it runs", `source=SOURCE no-wait if-exists no-service reason=WHY yes log-level=LEVEL log-format=FORMAT`},
	{"Files and sockets", `config=PATH run-dir=DIRECTORY state-dir=DIRECTORY socket=PATH socket-group=GROUP metrics-listen=ADDRESS timeout`},
	{"Fleet", `fleet=ENGINE fleet-name=NAME fleet-ring=RING fleet-open-after fleet-ca-file=FILE fleet-token-file=FILE fleet-user=USER fleet-password-file=FILE fleet-cert-file=FILE
		fleet-key-file=FILE fleet-plain-http`},
	{"Staged files", `stage=PATH stage-rollback bake`},
	{"Tuning", `scan-every audit-every forget-after max-per-user=N max-installs-per-user=N max-entries=N ring-bytes=BYTES`},
	{"Output", `running verbose follow from=NUMBER since=TIME kind=KIND watch check wait wait-timeout output=FORMAT color=WHEN no-descriptions help version`},
}

// othersTitle is the title of the flags that are in no group.
const othersTitle = "Others"

// FlagGroup is a part of the flags of a command.
type FlagGroup struct {
	Title string
	Flags []Flag
}

// Flag is one flag as help and the manual show it.
type Flag struct {
	// Name is without dashes. Shorthand is a letter, or empty.
	Name, Shorthand string
	// Value stands for the value, in capitals. It is empty for a flag that takes none.
	Value string
	Text  string
	// Default is empty where the flag has none, or its zero.
	Default string
}

func (f Flag) defaultText() string {
	if f.Default == "" {
		return ""
	}
	return " (default " + f.Default + ")"
}

// FlagGroups returns the flags of a command in groups. Groups without a flag are left out.
func FlagGroups(cmd *cobra.Command) []FlagGroup {
	cmd.InitDefaultHelpFlag()
	isLeft := make(map[string]bool)
	cmd.Flags().VisitAll(func(f *pflag.Flag) { isLeft[f.Name] = !f.Hidden })
	var groups []FlagGroup
	for _, known := range flagGroups {
		g := FlagGroup{Title: known.title}
		for entry := range strings.FieldsSeq(known.flags) {
			name, value, _ := strings.Cut(entry, "=")
			if isLeft[name] {
				g.Flags = append(g.Flags, shownFlag(cmd.Flags().Lookup(name), value))
			}
			delete(isLeft, name)
		}
		if len(g.Flags) > 0 {
			groups = append(groups, g)
		}
	}
	others := FlagGroup{Title: othersTitle}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if isLeft[f.Name] {
			others.Flags = append(others.Flags, shownFlag(f, ""))
		}
	})
	if len(others.Flags) > 0 {
		groups = append(groups, others)
	}
	return groups
}

// shownFlag shows a flag with value in place of its value, or with the type of that.
func shownFlag(f *pflag.Flag, value string) Flag {
	byType := map[string]string{"bool": "", "duration": "DURATION", "string": "TEXT", "stringArray": "TEXT"}
	byKind, isKnown := byType[f.Value.Type()]
	switch {
	case value != "":
	case isKnown:
		value = byKind
	default:
		value = "N"
	}
	text, fallback := f.Usage, f.DefValue
	if f.Name == "help" {
		text = "show this help"
	}
	if slices.Contains([]string{"false", "[]", "0", "0s"}, fallback) {
		fallback = ""
	}
	if f.Value.Type() == "duration" && strings.HasSuffix(fallback, "m0s") {
		fallback = strings.TrimSuffix(fallback, "0s")
	}
	return Flag{Name: f.Name, Shorthand: f.Shorthand, Value: value, Text: text, Default: fallback}
}
