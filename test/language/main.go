// SPDX-License-Identifier: MIT

// Command language checks the language of comments, messages, documents, test names and commit subjects against the
// rules of CONTRIBUTING.md. It lists each place that breaks a rule as file:line: text, and then exits with 1.
//
//	go run ./test/language [-summary] [-longest N] [PATH...]
//	go run ./test/language -commits
//
// Without a PATH it reads all files that git tracks.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

// errFindings means that the check itself worked, and that the language breaks a rule.
var errFindings = errors.New("the language breaks the rules of CONTRIBUTING.md")

func main() {
	err := run(os.Args[1:], os.Stdout)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "language:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("language", flag.ContinueOnError)
	commits := flags.Bool("commits", false, "check the subjects of the commits since this rule exists")
	summary := flags.Bool("summary", false, "count per folder instead of listing the places")
	longest := flags.Int("longest", 0, "list the `N` longest sentences, whatever their length")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *commits {
		return checkCommits(".", out)
	}
	files, err := list(flags.Args())
	if err != nil {
		return err
	}
	all, err := read(files)
	if err != nil {
		return err
	}
	switch {
	case *longest > 0:
		all.printLongest(out, *longest)
		return nil
	case *summary:
		all.printSummary(out)
	default:
		all.print(out)
	}
	if all.fails() {
		return errFindings
	}
	return nil
}
