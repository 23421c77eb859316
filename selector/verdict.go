// SPDX-License-Identifier: MIT

package selector

import (
	"fmt"
	"slices"
)

// Verdict is the decision about one process. Its text is the same in logs, metrics, JSON and tables.
type Verdict uint8

// The verdicts. Only Outdated is signalled.
const (
	// Undecided is the zero Verdict: no check has failed so far. [Rule.Judge] never returns it.
	Undecided Verdict = iota
	// Outdated: runs another file than it would exec, and may be signalled.
	Outdated
	// UpToDate: runs the installed file.
	UpToDate
	// NotOurs: argv[0] does not have the name of a server.
	NotOurs
	// NotMCP: has the name, but not the argument.
	NotMCP
	// NotSelected: its user or container is not among the selected ones.
	NotSelected
	// OverLimit: its user has more servers than the limit per user.
	OverLimit
	// Setuid: runs with privileges that its user does not have.
	Setuid
	// NotArmed: the upgrade variable is missing or empty.
	NotArmed
	// NoHandler: has no handler for the signal, which would end it.
	NoHandler
	// Forked: was forked a moment ago and has not exec'd; it may be about to exec another program.
	Forked
	// OtherInstall: its variable names another file than the installed one.
	OtherInstall
	// UnreadyInstall: what it would exec cannot be exec'd now.
	UnreadyInstall
	// UnreadableFacts: a fact that is needed could not be read.
	UnreadableFacts
	// Gone: ended during the inspection.
	Gone
)

var verdictWords = [...]string{
	Undecided:       "undecided",
	Outdated:        "outdated",
	UpToDate:        "up-to-date",
	NotOurs:         "not-ours",
	NotMCP:          "not-mcp",
	NotSelected:     "not-selected",
	OverLimit:       "over-limit",
	Setuid:          "setuid",
	NotArmed:        "not-armed",
	NoHandler:       "no-handler",
	Forked:          "forked",
	OtherInstall:    "other-install",
	UnreadyInstall:  "unready-install",
	UnreadableFacts: "unreadable",
	Gone:            "gone",
}

// Verdicts lists every verdict that a process can get.
func Verdicts() []Verdict {
	all := make([]Verdict, 0, len(verdictWords)-1)
	for v := Outdated; int(v) < len(verdictWords); v++ {
		all = append(all, v)
	}
	return all
}

// String returns the verdict's word.
func (v Verdict) String() string {
	if int(v) < len(verdictWords) {
		return verdictWords[v]
	}
	return fmt.Sprintf("verdict(%d)", uint8(v))
}

// MarshalText returns the verdict's word.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText parses a verdict's word.
func (v *Verdict) UnmarshalText(text []byte) error {
	i := slices.Index(verdictWords[:], string(text))
	if i < 0 {
		return fmt.Errorf("parse verdict %q: no such word", text)
	}
	*v = Verdict(i)
	return nil
}

// Decision is a verdict with its reason.
type Decision struct {
	Verdict Verdict `json:"verdict"`
	// Detail is the reason in words. It is empty if the verdict needs none.
	Detail string `json:"detail"`
	// Stale says that the process runs another image than the installed one, whether or not it may be signalled now. It
	// is also set if the process may do so, because a read timed out.
	Stale bool `json:"-"`
}
