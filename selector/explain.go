// SPDX-License-Identifier: MIT

package selector

import (
	"cmp"
	"fmt"
	"time"
)

// CheckState is the outcome of a check.
type CheckState string

// The outcomes of a check.
const (
	Passed CheckState = "passed"
	Failed CheckState = "failed"
	// NotNeeded: the process runs the installed file, so that no signal is needed.
	NotNeeded CheckState = "not-needed"
)

// Check is one step of a judgement, in words.
type Check struct {
	Name string `json:"check"`
	// Read is the fact that was read and what it is compared with, or why the process fails the check.
	Read string `json:"read"`
	// Passed says that State is Passed.
	Passed bool       `json:"passed"`
	State  CheckState `json:"state"`
}

// Explain returns the checks that Judge makes, up to and including the one that decides.
func (r Rule) Explain(p Process) []Check {
	var steps []Check
	for _, c := range checks() {
		if p.lacks(c.needs) {
			return append(steps, Check{c.name, fmt.Sprintf("cannot read %s: %s", p.Unreadable.Fact, p.Unreadable.Why), false, Failed})
		}
		why, failed := c.fails(r, p)
		switch {
		case failed && c.verdict == UpToDate:
			return append(steps, Check{c.name, fmt.Sprintf("runs the installed file, %s", p.Image), false, NotNeeded})
		case failed:
			return append(steps, Check{c.name, cmp.Or(why, c.read(r, p)), false, Failed})
		}
		steps = append(steps, Check{c.name, c.read(r, p), true, Passed})
	}
	return steps
}

func readName(r Rule, p Process) string {
	if len(p.Args) == 0 {
		return fmt.Sprintf("no arguments; the name must be one of %q", r.Names)
	}
	return fmt.Sprintf("argv[0] is %q; the name must be one of %q", p.Args[0], r.Names)
}

func readArgs(r Rule, p Process) string {
	return fmt.Sprintf("arguments are %q; one must be %q", p.Args[min(1, len(p.Args)):], r.Subcommand)
}

func readSelection(_ Rule, p Process) string {
	if p.Container != "" {
		return fmt.Sprintf("belongs to uid %d, in container %q", p.Credentials.Owner.UID, p.Container)
	}
	return fmt.Sprintf("belongs to uid %d", p.Credentials.Owner.UID)
}

func readUser(_ Rule, p Process) string { return fmt.Sprintf("runs as uid %d", p.Credentials.UID) }

func readFork(_ Rule, p Process) string {
	if !p.Forked {
		return "has exec'd"
	}
	return fmt.Sprintf("has not exec'd since it was forked %s ago", p.Age.Round(time.Millisecond))
}

func readVariable(r Rule, p Process) string { return fmt.Sprintf("%s=%q", r.Variable, p.Variable) }

func readTarget(_ Rule, p Process) string { return fmt.Sprintf("%q is %s", p.Variable, p.Target.Image) }

func readImage(r Rule, p Process) string {
	return fmt.Sprintf("runs %s; installed is %s", p.Image, r.Install.Image)
}

func readReady(r Rule, p Process) string {
	can := fmt.Sprintf("%q can be exec'd by uid %d", r.Install.Path, p.Credentials.UID)
	if r.Install.Detail != "" { // for example: its content was not read
		can += " (" + r.Install.Detail + ")"
	}
	return can
}

func readHandler(r Rule, _ Process) string { return r.Signal + " is caught" }
