// SPDX-License-Identifier: MIT

package selector

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// State says whether the installed file can be exec'd.
type State string

// The states of an install. The zero State counts as Missing.
const (
	StateReady   State = "ready"
	StateMissing State = "missing"
	StateUnready State = "unready"
)

// Install is the installed binary as it stands at one moment.
type Install struct {
	Path string `json:"path"`
	Image
	// Modified is when the content was last changed, and Size its length in bytes.
	Modified time.Time `json:"modified,omitzero"`
	Size     int64     `json:"size,omitzero"`
	// Born is when the inode was created; zero where the file system does not record that.
	Born time.Time `json:"born,omitzero"`
	// Changed is when content or metadata were last changed. It does not belong to the identity of the file.
	Changed time.Time `json:"changed,omitzero"`
	State   State     `json:"state"`
	// Detail says why the file is not ready or, if it is, that its content was not read.
	Detail string `json:"detail"`
	// Script says that the file is a script: after its exec, the image of a process is another file.
	Script bool `json:"-"`
	// Interpreters are the absolute paths that the kernel opens besides the file itself to exec it.
	Interpreters []string `json:"-"`
	// Programs are the files at these paths, in the same order.
	Programs []File `json:"-"`
}

// SameFile reports whether i and o are the same file with the same content. File systems reuse inode numbers, and
// archives set the modification time, so size and birth time count as well where both have them. The change time does
// not count: a chmod or a new hard link does not change the content.
func (i Install) SameFile(o Install) bool {
	return i.Image == o.Image && i.Modified.Equal(o.Modified) &&
		(i.Size == 0 || o.Size == 0 || i.Size == o.Size) &&
		(i.Born.IsZero() || o.Born.IsZero() || i.Born.Equal(o.Born))
}

// Rule is everything that a verdict depends on besides the process.
type Rule struct {
	Pattern
	// Variable is the name of the environment variable that arms a server, and Signal the name of the signal that makes
	// it upgrade. They only appear in details: the facts were read with them.
	Variable, Signal string
	Selection        Selection
	Install          Install
}

// Selection restricts the servers by user and by container. The zero Selection selects all.
type Selection struct {
	// Users are the only users to select, by [Credentials.Owner]; empty: all.
	Users []uint32
	// Containers are prefixes of container ids. If there are any, only servers in these containers are selected.
	Containers []string
	// NoContainers selects only servers outside of containers.
	NoContainers bool
}

// whyNot says why a process is not selected; "" means that it is.
func (s Selection) whyNot(p Process) string {
	switch {
	case len(s.Users) > 0 && !slices.Contains(s.Users, p.Credentials.Owner.UID):
		return fmt.Sprintf("belongs to uid %d", p.Credentials.Owner.UID)
	case s.NoContainers && p.Container != "":
		return fmt.Sprintf("runs in container %q", p.Container)
	case len(s.Containers) > 0 && !slices.ContainsFunc(s.Containers, p.runsIn):
		return fmt.Sprintf("runs in container %q", p.Container)
	}
	return ""
}

func (p Process) runsIn(container string) bool {
	return container != "" && strings.HasPrefix(p.Container, container)
}

// ForkAge is the age up to which a fork that has not exec'd counts as one that is about to exec. Between fork and exec
// pass microseconds as a rule, and seconds only on a host that is out of memory. An older fork is a daemon.
const ForkAge = 5 * time.Second

// check is one step of a judgement. fails returns a verdict other than Undecided if the process does not pass. read
// says in words what was compared.
type check struct {
	name  string
	needs Fact
	read  func(Rule, Process) string
	fails func(Rule, Process) (Verdict, string)
}

// checks are the steps in their order. The facts that change most are checked last, because they are read last; see
// [Fact].
func checks() []check {
	return []check{
		{"name", FactCmdline, readName, checkName},
		{"subcommand", FactCmdline, readArgs, checkSubcommand},
		{"selection", FactHandler, readSelection, checkSelection},
		{"user", FactHandler, readUser, checkUser},
		{"fork", FactStat, readFork, checkFork},
		{"variable", FactEnvironment, readVariable, checkVariable},
		{"install", FactTarget, readTarget, checkInstall},
		{"image", FactImage, readImage, checkImage},
		{"ready", FactTarget, readReady, checkReady},
		{"handler", FactHandler, readHandler, checkHandler},
	}
}

// Judge decides about one process. The verdict is [Outdated] only if every check passes.
func (r Rule) Judge(p Process) Decision {
	stale := false
	for _, c := range checks() {
		if p.lacks(c.needs) {
			return Decision{UnreadableFacts, fmt.Sprintf("%s: %s", p.Unreadable.Fact, p.Unreadable.Why), stale || p.Unreadable.IsTemporary}
		}
		if v, detail := c.fails(r, p); v != Undecided {
			return Decision{v, detail, stale}
		}
		stale = stale || c.needs == FactImage
	}
	return Decision{Outdated, r.Install.Detail, true}
}

// lacks reports whether f could not be read. Without stat, which is read first, all facts are missing.
func (p Process) lacks(f Fact) bool {
	return p.Unreadable.Fact == f || p.Unreadable.Fact == FactStat
}

func checkName(_ Rule, p Process) (Verdict, string) {
	if !p.Named {
		return NotOurs, ""
	}
	return Undecided, ""
}

func checkSubcommand(_ Rule, p Process) (Verdict, string) {
	if !p.Subcommand {
		return NotMCP, ""
	}
	return Undecided, ""
}

func checkSelection(r Rule, p Process) (Verdict, string) {
	if why := r.Selection.whyNot(p); why != "" {
		return NotSelected, why
	}
	return Undecided, ""
}

// checkUser rejects a process with privileges that its user does not have: its environment, which names the file to
// exec, may come from that user.
func checkUser(_ Rule, p Process) (Verdict, string) {
	if p.Credentials.Changed {
		return Setuid, "runs with privileges that its user does not have"
	}
	return Undecided, ""
}

func checkFork(_ Rule, p Process) (Verdict, string) {
	if p.Forked && p.Age < ForkAge {
		return Forked, "has not exec'd yet"
	}
	return Undecided, ""
}

func checkVariable(r Rule, p Process) (Verdict, string) {
	switch {
	case !p.VariableSet:
		return NotArmed, r.Variable + " is not set"
	case p.Variable == "":
		return NotArmed, r.Variable + " is empty"
	}
	return Undecided, ""
}

// checkInstall rejects a server that would exec another file, or none: its exec would fail, and it would exit with 70.
func checkInstall(r Rule, p Process) (Verdict, string) {
	switch {
	case p.TargetProblem != "":
		return UnreadyInstall, fmt.Sprintf("%s=%q: %s", r.Variable, p.Variable, p.TargetProblem)
	case !r.Install.Known() || p.Target.Image != r.Install.Image:
		return OtherInstall, fmt.Sprintf("%s=%q", r.Variable, p.Variable)
	}
	return Undecided, ""
}

func checkImage(r Rule, p Process) (Verdict, string) {
	if p.Image == r.Install.Image {
		return UpToDate, ""
	}
	return Undecided, ""
}

// checkReady checks both the installed file and the server's own access to it: the file may exist, but not be
// executable for this user or from this root.
func checkReady(r Rule, p Process) (Verdict, string) {
	if r.Install.State != StateReady {
		return UnreadyInstall, r.Install.Detail
	}
	if why := p.Credentials.WhyNotExec(p.Target); why != "" {
		return UnreadyInstall, fmt.Sprintf("%q: %s", p.Variable, why)
	}
	if p.MissingInterpreter != "" {
		return UnreadyInstall, fmt.Sprintf("interpreter %q: %s", p.MissingInterpreter, cmp.Or(p.InterpreterProblem, "not in the server's root"))
	}
	for i, f := range r.Install.Programs {
		if why := p.Credentials.WhyNotExec(f); why != "" && i < len(r.Install.Interpreters) {
			return UnreadyInstall, fmt.Sprintf("interpreter %q: %s", r.Install.Interpreters[i], why)
		}
	}
	return Undecided, ""
}

func checkHandler(r Rule, p Process) (Verdict, string) {
	switch {
	case p.MidExec:
		return NoHandler, "is inside an exec, which resets its handlers"
	case !p.Catches:
		return NoHandler, r.Signal + " is not caught and would end it"
	}
	return Undecided, ""
}
