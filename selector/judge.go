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
	// Modified is when its content was last changed, and Size its length in bytes.
	Modified time.Time `json:"modified,omitzero"`
	Size     int64     `json:"size,omitzero"`
	// Born is when the inode was created; zero where the file system does not keep that.
	Born time.Time `json:"born,omitzero"`
	// Changed is when content or metadata were last changed. It is no part of the identity of the file.
	Changed time.Time `json:"changed,omitzero"`
	State   State     `json:"state"`
	// Detail says why it is not ready or, where it is, that its content was not read.
	Detail string `json:"detail"`
	// Script says that it is one: what a process runs after its exec is another file then.
	Script bool `json:"-"`
	// Interpreters are the absolute paths that the kernel opens besides the file itself to exec it.
	Interpreters []string `json:"-"`
	// Programs are the files that these lead to, in the same order.
	Programs []File `json:"-"`
}

// SameFile reports whether i and o are looks at the same file with the same content. File systems use inode numbers
// again, and archives set the modification time, so size and birth time count as well where both looks have them. The
// change time does not count: a chmod or a new hard link leaves the file what it was.
func (i Install) SameFile(o Install) bool {
	return i.Image == o.Image && i.Modified.Equal(o.Modified) &&
		(i.Size == 0 || o.Size == 0 || i.Size == o.Size) &&
		(i.Born.IsZero() || o.Born.IsZero() || i.Born.Equal(o.Born))
}

// Rule is everything that a verdict depends on besides the process.
type Rule struct {
	Pattern
	// Variable is the name of the environment variable that arms a server, and Signal the name of
	// the signal that it waits for; both are for words only, the facts were read with them.
	Variable, Signal string
	Selection        Selection
	Install          Install
}

// Selection leaves out servers by whose they are and by what they run in. The zero Selection leaves
// out nobody.
type Selection struct {
	// Users, if any, are the only ones whose servers count, by real user id.
	Users []uint32
	// Containers, if any, are the beginnings of ids: servers in others, and outside of any, do not
	// count.
	Containers []string
	// NoContainers leaves out all that run in one.
	NoContainers bool
}

// whyNot says why a process is left out, or nothing when it is not.
func (s Selection) whyNot(p Process) string {
	switch {
	case len(s.Users) > 0 && !slices.Contains(s.Users, p.Credentials.Owner):
		return fmt.Sprintf("belongs to uid %d", p.Credentials.Owner)
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

// ForkAge is how long a fork that has not exec'd is taken for one that is about to: between fork
// and exec lie microseconds as a rule, and seconds only on a host that is out of memory. One that
// stays longer is a daemon.
const ForkAge = 5 * time.Second

// check is one rule. fails answers with a verdict other than Undecided when the process does not
// pass.
type check struct {
	name  string
	needs Fact
	read  func(Rule, Process) string
	fails func(Rule, Process) (Verdict, string)
}

// checks are the rules in the order in which they are asked. Image and handler were read last, so
// that what they say is youngest; see [Fact].
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

// Judge decides about one process. It is [Outdated] only if every check passes.
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

// lacks reports whether f could not be read, or was not read because stat, the first of all, could
// not be.
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

// checkUser turns down what runs with rights that its user does not have: all that says what it would
// exec was chosen without them.
func checkUser(_ Rule, p Process) (Verdict, string) {
	if p.Credentials.Changed {
		return Setuid, "runs with rights that its user does not have"
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

// checkReady asks both for the installed file and for the server's own way to it: the file may be
// there, but not for this user or in this root.
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
		return NoHandler, "execs just now, which resets its handlers"
	case !p.Catches:
		return NoHandler, r.Signal + " is not caught and would end it"
	}
	return Undecided, ""
}
