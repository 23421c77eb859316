// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"cmp"
	"fmt"
	"os"
	"strings"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// outlook puts into words what will happen to one process, and when.
type outlook struct {
	e     *explanation
	known *knowledge
	rule  selector.Rule
	now   time.Time
	names *userNames
}

// line is one line with the verb first: the process is its subject.
func (o outlook) line() string {
	e := o.e
	last := e.Checks[len(e.Checks)-1]
	switch e.Verdict {
	case selector.NotOurs, selector.NotMCP:
		return fmt.Sprintf("is no server: a server has %s and an argument %q", nameWords(o.rule.Names), o.rule.Subcommand)
	case selector.Outdated, selector.UpToDate:
	case selector.NotArmed:
		return fmt.Sprintf("will not be signalled: %s; arm it as above, and start it anew", e.Detail)
	case selector.NoHandler:
		return "will not be signalled: " + cmp.Or(e.Detail, last.Read) + "; it will be once it catches that; if it hangs, start it anew"
	case selector.UnreadableFacts:
		if os.Geteuid() != 0 && e.UID != uint32(os.Geteuid()) {
			return "what will happen is not known to this user: run this as root or the user of the process"
		}
		fallthrough
	default:
		return "will not be signalled: " + cmp.Or(e.Detail, last.Read)
	}
	if line := o.member(); line != "" {
		return line
	}
	if e.Verdict == selector.UpToDate {
		return "needs no signal: it runs the installed file"
	}
	return o.outdated()
}

// member is what the service will do with a member of a rollout; "": nothing.
func (o outlook) member() string {
	m, w := o.e.Rollout, o.e.Wait
	switch w.For {
	case "":
		if m != nil && m.State == rollout.GaveUp {
			return fmt.Sprintf("was signalled %s in vain, and will not be signalled again for this file", timesWord(m.Attempts))
		}
		return ""
	case rollout.WaitExec, rollout.WaitHold:
		return waitText(w, o.names, o.now)
	case rollout.WaitArm:
		return waitText(w, o.names, o.now) + "; if it hangs, install a good binary for the others, and start this server anew"
	case rollout.WaitRetry:
		return fmt.Sprintf("was signalled %s in vain; the next signal is at %s", timesWord(m.Attempts), clock(w.Until, o.now))
	case rollout.WaitResume:
		return "will not be signalled now: " + o.halt(w)
	case rollout.WaitInstall:
		return "will not be signalled for this file: " + waitText(w, o.names, o.now)
	case rollout.WaitService:
		return "will not be signalled now: " + withIt(waitText(w, o.names, o.now))
	case rollout.WaitIdle:
		return o.whenIdle() + ", at the latest at " + clock(w.Until, o.now) + ": " + w.Why
	}
	return "will be signalled later: " + withIt(waitText(w, o.names, o.now))
}

// withIt gives a reason that has no subject the process as one.
func withIt(reason string) string {
	if strings.HasPrefix(reason, "is ") || strings.HasPrefix(reason, "was ") {
		return "it " + reason
	}
	return reason
}

// halt is the reason with the name of the user, and what ends it.
func (o outlook) halt(w rollout.Wait) string {
	why := strings.Replace(waitText(w, o.names, o.now), "for its user", "for "+o.names.inText(o.e.UID), 1)
	resume := "ebpf-upgrader resume"
	if !strings.HasPrefix(w.Why, "rollout ") { // a pause
		return why + "; " + resume + " ends that"
	}
	resume += " --install-path " + o.e.Install.Path
	if !strings.Contains(w.Why, "for all users") {
		resume += " --user " + o.names.of(o.e.UID)
	}
	return why + "; a good binary goes on, or " + resume + " tries one more server"
}

func (o outlook) whenIdle() string {
	quiet := defaultQuiet
	if o.known.err == nil {
		quiet = time.Duration(o.known.status.Serves.Quiet)
	}
	if quiet == 0 {
		return "will be signalled now"
	}
	return fmt.Sprintf("will be signalled when it has been idle for %s", quiet)
}

// outdated is about an outdated server that is in no rollout, as far as is known.
func (o outlook) outdated() string {
	known := o.known.of(selector.Identity{PID: o.e.PID, StartTime: o.e.startTime})
	switch {
	case o.known.isAbsent:
		return o.whenIdle() + " by trigger, or by run: " + o.known.without()
	case o.known.err != nil:
		return "what will happen is not known: " + o.known.without()
	case known != nil && known.Verdict == selector.UnreadyInstall:
		return "will not be signalled: the installed file is not ready: " + known.Detail + "; install a complete one, its rollout begins by itself"
	case known != nil && known.Verdict != selector.Outdated && api.IsServer(known.Server):
		why := o.known.whyUnserved(known, selector.Outdated).Why
		return "will not be signalled by the service: " + withIt(why)
	case known == nil:
		return fmt.Sprintf("will be signalled if the service (process %d) serves it: it does not know it yet", o.known.status.PID)
	}
	return o.whenIdle()
}

// timesWord is how often something happened.
func timesWord(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}
