// SPDX-License-Identifier: MIT

package selector

import (
	"fmt"
	"strings"
	"time"
)

// Check is one step of a judgement, in words.
type Check struct {
	Name string `json:"check"`
	// Read is the fact that was read, and what it is compared with.
	Read   string `json:"read"`
	Passed bool   `json:"passed"`
}

// Explain returns the checks that Judge makes, up to and including the one that decides.
func (r Rule) Explain(p Process) []Check {
	var steps []Check
	for _, c := range checks() {
		if p.lacks(c.needs) {
			return append(steps, Check{c.name, fmt.Sprintf("cannot read %s: %s", p.Unreadable.Fact, p.Unreadable.Why), false})
		}
		v, _ := c.fails(r, p)
		steps = append(steps, Check{c.name, c.read(r, p), v == Undecided})
		if v != Undecided {
			break
		}
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
	quoted := make([]string, 0, len(p.Args))
	for _, a := range p.Args[min(1, len(p.Args)):] {
		quoted = append(quoted, fmt.Sprintf("%q", a))
	}
	return fmt.Sprintf("arguments are %s; one must be %q", strings.Join(quoted, " "), r.Subcommand)
}

func readSelection(r Rule, p Process) string {
	if why := r.Selection.whyNot(p); why != "" {
		return why
	}
	if p.Container != "" {
		return fmt.Sprintf("belongs to uid %d, in container %q", p.Credentials.Owner.UID, p.Container)
	}
	return fmt.Sprintf("belongs to uid %d", p.Credentials.Owner.UID)
}

func readUser(_ Rule, p Process) string {
	if p.Credentials.Changed {
		return "runs with privileges that its user does not have"
	}
	return fmt.Sprintf("runs as uid %d", p.Credentials.UID)
}

func readFork(_ Rule, p Process) string {
	if !p.Forked {
		return "has exec'd"
	}
	return fmt.Sprintf("has not exec'd since it was forked %s ago", p.Age.Round(time.Millisecond))
}

func readVariable(r Rule, p Process) string {
	if !p.VariableSet {
		return r.Variable + " is not set"
	}
	return fmt.Sprintf("%s=%q", r.Variable, p.Variable)
}

func readTarget(r Rule, p Process) string {
	if p.TargetProblem != "" {
		return fmt.Sprintf("%q: %s", p.Variable, p.TargetProblem)
	}
	return fmt.Sprintf("%q is %s; installed is %s", p.Variable, p.Target.Image, r.Install.Image)
}

func readImage(r Rule, p Process) string {
	return fmt.Sprintf("runs %s; installed is %s", p.Image, r.Install.Image)
}

func readReady(r Rule, p Process) string {
	if _, detail := checkReady(r, p); detail != "" {
		return detail
	}
	can := fmt.Sprintf("%q can be exec'd by uid %d", r.Install.Path, p.Credentials.UID)
	if r.Install.Detail != "" { // for example: its content was not read
		can += " (" + r.Install.Detail + ")"
	}
	return can
}

func readHandler(r Rule, p Process) string {
	switch {
	case p.MidExec:
		return "is inside an exec"
	case p.Catches:
		return r.Signal + " is caught"
	}
	return r.Signal + " is not caught"
}
