// SPDX-License-Identifier: MIT

package selector

import "fmt"

// Verdict says what is to be done with one process. Its text is the same in logs, metrics, JSON
// and tables.
type Verdict uint8

// The verdicts. Only Outdated is signalled.
const (
	// Undecided is the zero Verdict, and never leaves this package.
	Undecided Verdict = iota
	// Outdated: runs another file than it would exec, and is ready to be asked.
	Outdated
	// UpToDate: runs the installed file.
	UpToDate
	// NotOurs: argv[0] does not carry the name.
	NotOurs
	// NotMCP: carries the name, but not the argument.
	NotMCP
	// NotSelected: its user or container is not among those asked for.
	NotSelected
	// OverLimit: its user has more servers than are looked at.
	OverLimit
	// Setuid: runs with rights that its user does not have.
	Setuid
	// NotArmed: the upgrade variable is missing or empty.
	NotArmed
	// NoHandler: the signal is not caught, and would end the process.
	NoHandler
	// Forked: a young fork that has not exec'd, and may be about to exec something else.
	Forked
	// OtherInstall: its variable names another file than the installed one.
	OtherInstall
	// UnreadyInstall: what it would exec cannot be exec'd now.
	UnreadyInstall
	// Unreadable: a fact that is needed could not be read.
	UnreadableFacts
	// Gone: ended while it was looked at.
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

// String is the verdict's word.
func (v Verdict) String() string {
	if int(v) < len(verdictWords) {
		return verdictWords[v]
	}
	return fmt.Sprintf("verdict(%d)", uint8(v))
}

// MarshalText gives the verdict's word.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText takes a verdict's word.
func (v *Verdict) UnmarshalText(text []byte) error {
	for i, word := range verdictWords {
		if word == string(text) {
			*v = Verdict(i)
			return nil
		}
	}
	return fmt.Errorf("parse verdict %q: no such word", text)
}

// Decision is a verdict with what a person wants to know beside it.
type Decision struct {
	Verdict Verdict `json:"verdict"`
	// Detail says what was found, empty when the word says it all.
	Detail string `json:"detail"`
	// Stale says that the process runs another image than the installed one, whether or not it can
	// be asked now; or that it may, because it could not be read in time.
	Stale bool `json:"-"`
}
