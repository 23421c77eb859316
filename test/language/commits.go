// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strings"
	"unicode/utf8"
)

// maxSubject is the limit of a commit's subject, in characters.
const maxSubject = 65

// ruleFile is a file. The commit that added it began the rule for subjects.
const ruleFile = "test/language/commits.go"

// checkCommits checks the subjects of all commits since the one that added ruleFile. A shallow clone may lack that
// one; its oldest commit then looks as if it had added every file, and the check begins there.
func checkCommits(folder string, out io.Writer) error {
	added, err := git(folder, "log", "--diff-filter=A", "--format=%H", "--", ruleFile)
	if err != nil {
		return err
	}
	if len(added) == 0 {
		return errors.New("no commit of this branch has added " + ruleFile)
	}
	commits, err := git(folder, "log", "--no-merges", "--reverse", "--format=%h %s", added[len(added)-1]+"..HEAD")
	if err != nil {
		return err
	}
	failed := false
	for _, commit := range commits {
		hash, subject, _ := strings.Cut(commit, " ")
		if problem := checkSubject(subject); problem != "" {
			fmt.Fprintf(out, "%s: %s: %s\n", hash, problem, subject)
			failed = true
		}
	}
	fmt.Fprintf(out, "%d commit subjects checked\n", len(commits))
	if failed {
		return errFindings
	}
	return nil
}

// git runs git in a folder, and returns the lines that it prints.
func git(folder string, args ...string) ([]string, error) {
	command := exec.Command("git", append([]string{"-C", folder}, args...)...)
	printed, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("git %s: %w", args[0], err)
	}
	return strings.FieldsFunc(string(printed), func(r rune) bool { return r == '\n' }), nil
}

var (
	subjectForm = regexp.MustCompile(`^[a-z0-9][a-z0-9/._-]*(, [a-z0-9][a-z0-9/._-]*)*: (\S+)( .*)?$`)
	// notImperative is an article, a pronoun or a preposition where a verb should be.
	notImperative = regexp.MustCompile(`^(the|an?|this|that|these|those|what|which|how|where|when|it|its|no|in|on|for|of|with)$`)
	// verbs look like other forms of a verb.
	verbs = regexp.MustCompile(`^(bring|ping|ring|string|swing|embed|feed|need|seed|shed|speed|exceed|proceed|focus)$`)
)

// checkSubject says what is wrong with a commit's subject; "" if nothing is. It knows a verb in the imperative by what
// it is not, so it finds the usual mistakes only.
func checkSubject(subject string) string {
	parts := subjectForm.FindStringSubmatch(subject)
	switch {
	case utf8.RuneCountInString(subject) > maxSubject:
		return fmt.Sprintf("%d characters, at most %d", utf8.RuneCountInString(subject), maxSubject)
	case parts == nil:
		return `not "package: imperative phrase"`
	case strings.HasSuffix(subject, "."):
		return "ends with a full stop"
	case !isImperative(parts[2]):
		return "does not begin with a verb in the imperative"
	}
	return ""
}

func isImperative(word string) bool {
	switch {
	case verbs.MatchString(word):
		return true
	case notImperative.MatchString(word), strings.ToLower(word) != word:
		return false
	case strings.HasSuffix(word, "ing"), strings.HasSuffix(word, "ed"):
		return false
	}
	return !strings.HasSuffix(word, "s") || strings.HasSuffix(word, "ss")
}
