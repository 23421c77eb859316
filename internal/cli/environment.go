// SPDX-License-Identifier: MIT

package cli

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ebpf-upgrader/internal/api"
)

const (
	variablePrefix = "EBPF_UPGRADER_"
	// testVariables are read by this program's tests only.
	testVariables = variablePrefix + "TEST_"
)

// VariableOf is the variable that sets a flag.
func VariableOf(flag string) string {
	return variablePrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// fromEnvironment sets each flag that was not given from its variable, unless that is empty. It adds the variables that it
// used to sources, by flag.
func fromEnvironment(flags *pflag.FlagSet, sources map[string]api.Setting) error {
	var first error
	flags.VisitAll(func(f *pflag.Flag) {
		name := VariableOf(f.Name)
		value := os.Getenv(name)
		if value == "" || f.Changed || isNoSetting(f.Name) {
			return
		}
		if err := flags.Set(f.Name, value); err != nil {
			first = cmp.Or(first, usageError("%s=%s: %w", name, value, errors.Unwrap(err)))
		}
		sources[f.Name] = api.Setting{Source: api.SettingEnvironment, Variable: name}
	})
	return first
}

// isNoSetting reports whether a flag asks for another output, and has no variable.
func isNoSetting(flag string) bool { return flag == "help" || flag == "version" }

// withSources replaces flags in an error by the variables, or the lines of files, that set them.
func withSources(text string, sources map[string]api.Setting) string {
	for flag, from := range sources {
		source := from.Origin()
		if from.Source == api.SettingFile {
			source += ": " + flag
		}
		if rest, ok := strings.CutPrefix(text, "--"+flag+" "); ok && isValue(rest) {
			if quoted, err := strconv.QuotedPrefix(rest); err == nil {
				value, _ := strconv.Unquote(quoted) // it is quoted
				rest = value + rest[len(quoted):]
			}
			text = source + "=" + rest
			continue
		}
		text = regexp.MustCompile(`--`+flag+`([^-\w]|$)`).ReplaceAllString(text, source+"$1")
	}
	return text
}

// isValue reports whether text begins with the value of a flag and a colon.
func isValue(text string) bool {
	if quoted, err := strconv.QuotedPrefix(text); err == nil {
		return strings.HasPrefix(text[len(quoted):], ":")
	}
	word, _, _ := strings.Cut(text, " ")
	return strings.HasSuffix(word, ":")
}

// unknownVariables describes each variable that looks like one of this program and sets no flag.
func unknownVariables(root *cobra.Command) []string {
	known := make(map[string]bool)
	var visit func(*cobra.Command)
	visit = func(cmd *cobra.Command) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) { known[VariableOf(f.Name)] = !isNoSetting(f.Name) })
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
	}
	visit(root)
	var names, unknown []string
	for name, isKnown := range known {
		if isKnown {
			names = append(names, name)
		}
	}
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, variablePrefix) || strings.HasPrefix(name, testVariables) || known[name] {
			continue
		}
		if meant := similar(name, names); len(meant) > 0 {
			name = fmt.Sprintf("%s (did you mean %s?)", name, meant[0])
		}
		unknown = append(unknown, name)
	}
	slices.Sort(unknown)
	return unknown
}
