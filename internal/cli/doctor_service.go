// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/daemon"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/tracker"
)

// checkService says which service runs. That none runs is no fault: trigger works without.
func (d *doctor) checkService() finding {
	s, now := &d.known.status, time.Now()
	switch {
	case d.known.err == nil && s.Paused:
		return finding{Check: "service", Found: d.serviceWords(now) + "; paused by an operator", Do: "ebpf-upgrader resume"}
	case d.known.err == nil && s.JournalError != "":
		return finding{Check: "service", Found: d.serviceWords(now) + "; signals no server: " + s.JournalError, Do: "repair its run directory: it goes on by itself"}
	case d.known.err == nil:
		return finding{Check: "service", OK: true, Found: d.serviceWords(now)}
	case d.known.isAbsent:
		return finding{
			Check: "service", Found: d.known.without(), IsNote: true,
			Do: "start one: systemctl enable --now ebpf-upgrader, or ebpf-upgrader run",
		}
	case errors.Is(d.known.err, control.ErrDenied):
		return finding{Check: "service", Found: "runs, and does not answer this user", IsNote: true, Do: "run this as root, or as the user of the service"}
	}
	return finding{Check: "service", Found: d.known.without(), Do: "see its log: journalctl -u ebpf-upgrader"}
}

func (d *doctor) serviceWords(now time.Time) string {
	s := &d.known.status
	return fmt.Sprintf("process %d, version %s, since %s (up %s)", s.PID, s.Version, s.Started.Local().Format(time.DateTime), age(s.Started, now))
}

// checkServiceGate says whether the gate of the service is closed. It knows that if a service answers.
func (d *doctor) checkServiceGate() (f finding, isKnown bool) {
	g := &d.known.status.Gate
	switch {
	case d.known.err != nil:
		return finding{}, false
	case g.Active:
		return finding{Check: "gate", OK: true, Found: fmt.Sprintf("on, by %s: %s of the servers' own trigger refused", g.Way, counted(int(g.Refused), "signal"))}, true
	}
	do := whatGateNeeds()
	switch {
	case g.Reason == daemon.GateOffReason:
		do = "start the service without --gate off"
	case d.known.status.Source == api.SourceProc:
		do = "have the service use the kernel's tracker: its log says why it does not, and see tracker below"
	}
	return finding{Check: "gate", Found: "off: " + g.Reason + "; " + daemon.WithoutGate, Do: do, IsNote: isPlainUser()}, true
}

// checkServers counts the servers, those that are armed, and those that send signals themselves. It reads them: a service
// does not report the last.
func (d *doctor) checkServers(ctx context.Context) []finding {
	if s := &d.known.status.Serves; d.known.err == nil { // else those that a service serves by default
		d.opts.names, d.opts.subcommand, d.opts.variable, d.opts.signal = s.Names, s.Subcommand, s.Variable, s.Signal
	}
	verdicts, triggers, err := d.countServers(ctx)
	if err != nil {
		return []finding{{Check: "servers", Found: err.Error()}}
	}
	findings := []finding{d.judgeServers(verdicts)}
	if len(verdicts) > 0 {
		findings = append(findings, d.judgeTriggers(triggers))
	}
	return findings
}

func (d *doctor) countServers(ctx context.Context) (verdicts map[selector.Verdict]int, triggers int, err error) {
	cfg, err := d.config()
	if err != nil {
		return nil, 0, err
	}
	h, err := daemon.OpenProc(cfg)
	if err != nil {
		return nil, 0, err
	}
	defer h.Close()
	return h.Servers(ctx)
}

func (d *doctor) judgeServers(verdicts map[selector.Verdict]int) finding {
	all := 0
	for _, n := range verdicts {
		all += n
	}
	unread := verdicts[selector.UnreadableFacts]
	f := finding{Check: "servers", OK: true}
	switch unarmed := verdicts[selector.NotArmed]; {
	case all == 0:
		f.OK, f.IsNote = false, true
		f.Found = fmt.Sprintf("none: of %s, none has %s and an argument %q", visibleProcesses(), nameWords(d.opts.names), d.opts.subcommand)
		f.Do = "start a session of an agent; list --all shows why a process is no server"
	case unread == all:
		f.OK, f.IsNote = false, true
		f.Found, f.Do = counted(all, "server")+", all of other users: unreadable", "run this as root to read them"
	case unarmed > 0:
		f.OK = false
		f.Found = fmt.Sprintf("%s: %s; %d without %s are never upgraded", counted(all, "server"), daemon.Counts(verdicts), unarmed, d.opts.variable)
		f.Do = fmt.Sprintf("set %s in the agent's MCP configuration; list shows the servers, explain PID an example", d.opts.variable)
	case unread > 0 && isPlainUser():
		delete(verdicts, selector.UnreadableFacts)
		f.Found = fmt.Sprintf("%s: %s; %d of other users cannot be read", counted(all, "server"), daemon.Counts(verdicts), unread)
	default:
		f.Found = fmt.Sprintf("%s: %s", counted(all, "server"), daemon.Counts(verdicts))
	}
	return f
}

// judgeTriggers says which other senders there are: servers that signal others when something happens in the directory of their
// install.
func (d *doctor) judgeTriggers(n int) finding {
	f := finding{Check: "other senders", OK: true, Found: "none: no server watches the directory of its install"}
	if n == 0 {
		return f
	}
	f.Found = fmt.Sprintf("%s the directory of an install, and signals others itself", map[bool]string{true: "1 server watches", false: fmt.Sprintf("%d servers watch", n)}[n == 1])
	switch {
	case d.known.err == nil && d.known.status.Gate.Active:
		f.Found += "; the gate refuses that"
	case d.known.err == nil:
		f.OK, f.Found, f.Do = false, f.Found+"; no gate refuses that", "see gate"
	default:
		f.OK, f.IsNote, f.Found, f.Do = false, true, f.Found+"; without a service, no gate refuses that", "start a service"
	}
	return f
}

// checkGate closes the gate for a moment. The service works without: the exit code does not depend on it.
func checkGate(t *tracker.Tracker) finding {
	g, err := t.EnableGate()
	if err != nil {
		return finding{Check: "gate", Found: err.Error(), Do: whatGateNeeds() + "; until then " + daemon.WithoutGate}
	}
	return finding{Check: "gate", OK: true, Found: "refuses the servers' own signals, by " + g.Hook()}
}

// whatGateNeeds is the first thing that the kernel is found to lack.
func whatGateNeeds() string {
	lsms, err := os.ReadFile("/sys/kernel/security/lsm")
	// Linux 6.4 is the first with direct calls in ftrace on arm64, which BPF trampolines need (commit 2aa6ac03516d).
	_, isOlder := olderThan(6, 4)
	switch {
	case runtime.GOARCH == "arm64" && isOlder:
		return "use Linux 6.4 or later on arm64"
	case runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64":
		return "use a kernel with BPF trampolines for this architecture"
	case err == nil && !slices.Contains(strings.Split(strings.TrimSpace(string(lsms)), ","), "bpf"):
		return "use a kernel with CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS, or with CONFIG_BPF_LSM and lsm=" +
			strings.TrimSpace(string(lsms)) + ",bpf at boot"
	}
	return "use a kernel that permits BPF programs to change return values (CONFIG_SECURITY, CONFIG_BPF_LSM with bpf in lsm= at " +
		"boot, or CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS)"
}
