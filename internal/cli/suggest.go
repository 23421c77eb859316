// SPDX-License-Identifier: MIT

package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// furthest is how many letters a misspelt word may differ in.
const furthest = 2

// helpful makes a command and those below it say what was meant, and where its help is, when they are given what they do
// not know.
func helpful(cmd *cobra.Command) {
	cmd.SuggestionsMinimumDistance = furthest
	check := cmd.Args
	if check == nil {
		check = cobra.ArbitraryArgs
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		err := check(cmd, args)
		if _, isOurs := errors.AsType[*exitError](err); err == nil || isOurs || !strings.HasPrefix(err.Error(), "unknown command") {
			return err
		}
		if cmd.HasSubCommands() {
			return unknownCommand(cmd, args[0])
		}
		return usageError("%s takes no argument, but has %q: %s", cmd.Name(), args[0], seeHelp(cmd))
	}
	for _, sub := range cmd.Commands() {
		helpful(sub)
	}
}

func unknownCommand(cmd *cobra.Command, name string) error {
	return usageError("unknown command %q%s: %s", name, didYouMean(cmd.SuggestionsFor(name)), seeHelp(cmd))
}

// flagError adds to an error about a flag what was meant. args are those of the whole command line.
func flagError(cmd *cobra.Command, err error, args []string) error {
	unknown, isUnknown := errors.AsType[*pflag.NotExistError](err)
	switch {
	case !isUnknown:
		return err
	case !cmd.HasParent() && len(args) > 0 && !strings.HasPrefix(args[0], "-"):
		return unknownCommand(cmd, args[0]) // the flags are of a command that there is not
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, "--"+f.Name) })
	return usageError("%w%s: %s", err, didYouMean(similar("--"+unknown.GetSpecifiedName(), names)), seeHelp(cmd))
}

// similar are those of names that word may be a misspelling of.
func similar(word string, names []string) []string {
	known := &cobra.Command{SuggestionsMinimumDistance: furthest}
	for _, name := range names {
		known.AddCommand(&cobra.Command{Use: name, Run: func(*cobra.Command, []string) {}})
	}
	return known.SuggestionsFor(word)
}

// didYouMean is empty where nothing is similar, or too much.
func didYouMean(names []string) string {
	if len(names) == 0 || len(names) > 3 {
		return ""
	}
	return fmt.Sprintf(" (did you mean %s?)", strings.Join(names, " or "))
}

func seeHelp(cmd *cobra.Command) string { return "see " + cmd.CommandPath() + " --help" }
