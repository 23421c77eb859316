// SPDX-License-Identifier: MIT

package selector

import (
	"fmt"
	"slices"
	"strconv"
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
	// Build is empty where the content was not read.
	Build
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

// WhyNot returns why a process is not selected; "" means that it is.
func (s Selection) WhyNot(p Process) string {
	switch {
	case len(s.Users) > 0 && !slices.Contains(s.Users, p.Credentials.Owner.UID):
		return fmt.Sprintf("belongs to uid %d", p.Credentials.Owner.UID)
	case s.NoContainers && p.Container != "":
		return "runs in container " + quote(p.Container)
	case len(s.Containers) > 0 && !slices.ContainsFunc(s.Containers, p.runsIn):
		return "runs in container " + quote(p.Container)
	}
	return ""
}

// quote quotes what a process says for a detail, which is kept, and cuts it to 256 bytes.
func quote(s string) string {
	const longest = 256
	if len(s) <= longest {
		return strconv.Quote(s)
	}
	return strconv.Quote(s[:longest]) + "..."
}

func (p Process) runsIn(container string) bool {
	return container != "" && strings.HasPrefix(p.Container, container)
}

// ForkAge is the age up to which a fork that has not exec'd counts as one that is about to exec. Between fork and exec
// pass microseconds as a rule, and seconds only on a host that is out of memory. An older fork is a daemon.
const ForkAge = 5 * time.Second

// check is one step of a judgement. A process that fails gets the verdict, with the reason why. read says in words what
// was compared, for a process that passes or that fails without a reason.
type check struct {
	name    string
	needs   Fact
	verdict Verdict
	read    func(Rule, Process) string
	fails   func(Rule, Process) (why string, failed bool)
}

// checks are the steps in their order. The facts that change most are checked last, because they are read last; see
// [Fact].
func checks() []check {
	return []check{
		{"name", FactCmdline, NotOurs, readName, func(_ Rule, p Process) (string, bool) { return "", !p.Named }},
		{"subcommand", FactCmdline, NotMCP, readArgs, func(_ Rule, p Process) (string, bool) { return "", !p.Subcommand }},
		{"selection", FactHandler, NotSelected, readSelection, failsSelection},
		{"user", FactHandler, Setuid, readUser, failsUser},
		{"fork", FactStat, Forked, readFork, failsFork},
		{"variable", FactEnvironment, NotArmed, readVariable, failsVariable},
		{"target", FactTarget, UnreadyInstall, readTarget, failsTarget},
		{"install", FactTarget, OtherInstall, readTarget, failsInstall},
		{"image", FactImage, UpToDate, readImage, func(r Rule, p Process) (string, bool) { return "", p.Image == r.Install.Image }},
		{"ready", FactTarget, UnreadyInstall, readReady, failsReady},
		{"handler", FactHandler, NoHandler, readHandler, failsHandler},
	}
}

// Judge decides about one process. The verdict is [Outdated] only if every check passes.
func (r Rule) Judge(p Process) Decision {
	stale := false
	for _, c := range checks() {
		if p.lacks(c.needs) {
			return Decision{UnreadableFacts, fmt.Sprintf("%s: %s", p.Unreadable.Fact, p.Unreadable.Why), stale || p.Unreadable.IsTemporary}
		}
		if why, failed := c.fails(r, p); failed {
			return Decision{c.verdict, why, stale}
		}
		stale = stale || c.needs == FactImage
	}
	return Decision{Outdated, r.Install.Detail, true}
}

// lacks reports whether f could not be read. Without stat, which is read first, all facts are missing.
func (p Process) lacks(f Fact) bool {
	return p.Unreadable.Fact == f || p.Unreadable.Fact == FactStat
}

func failsSelection(r Rule, p Process) (string, bool) {
	why := r.Selection.WhyNot(p)
	return why, why != ""
}

// failsUser rejects a process with privileges that its user does not have: its environment, which names the file to
// exec, may come from that user.
func failsUser(_ Rule, p Process) (string, bool) {
	return "runs with privileges that its user does not have", p.Credentials.Changed
}

func failsFork(_ Rule, p Process) (string, bool) {
	return "has not exec'd yet", p.Forked && p.Age < ForkAge
}

func failsVariable(r Rule, p Process) (string, bool) {
	switch {
	case !p.VariableSet:
		return r.Variable + " is not set", true
	case p.Variable == "":
		return r.Variable + " is empty", true
	}
	return "", false
}

// failsTarget rejects a server that would exec nothing: its exec would fail, and it would exit with 70.
func failsTarget(r Rule, p Process) (string, bool) {
	if p.TargetProblem != "" {
		return fmt.Sprintf("%s=%s: %s", r.Variable, quote(p.Variable), p.TargetProblem), true
	}
	return "", false
}

func failsInstall(r Rule, p Process) (string, bool) {
	if !r.Install.Known() || p.Target.Image != r.Install.Image {
		return fmt.Sprintf("%s=%s is %s, installed is %s", r.Variable, quote(p.Variable), p.Target.Image, r.Install.Image), true
	}
	return "", false
}

// failsReady checks both the installed file and the server's own access to it: the file may exist, but not be
// executable for this user or from this root.
func failsReady(r Rule, p Process) (string, bool) {
	if r.Install.State != StateReady {
		return r.Install.Detail, true
	}
	p.Target.Script = r.Install.Script
	if why := p.Credentials.WhyNotExec(p.Target); why != "" {
		return fmt.Sprintf("%s: %s", quote(p.Variable), why), true
	}
	for i, f := range r.Install.Programs {
		if why := p.Credentials.WhyNotExec(f); why != "" && i < len(r.Install.Interpreters) {
			return fmt.Sprintf("interpreter %q: %s", r.Install.Interpreters[i], why), true
		}
	}
	return p.InterpreterProblem, p.InterpreterProblem != ""
}

func failsHandler(r Rule, p Process) (string, bool) {
	if p.MidExec {
		return "is inside an exec, which resets its handlers", true
	}
	return r.Signal + " is not caught and would end it", !p.Catches
}
