// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/controller"
	"ebpf-upgrader/internal/daemon"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/internal/screen"
	"ebpf-upgrader/selector"
)

// print writes a row for each server, and below what a reader needs to know of the whole.
func (l *listing) print(w io.Writer, a *app) error {
	v, o := a.newView(w), &a.opts
	v.isWide = o.isWide()
	if err := v.serversOf(w, l.Servers, len(l.Installs)); err != nil {
		return err
	}
	if len(l.Servers) > 0 {
		fmt.Fprintln(w)
	}
	counts := api.CountVerdicts(l.Servers)
	lines := []string{fmt.Sprintf("%s; %s; source: %s", daemon.Counts(counts), filesLine(l.Installs), sourceOf(l.Report))}
	lines = append(lines, l.emptyLines(o)...)
	lines = append(lines, l.hiddenLines(o)...)
	lines = append(lines, l.adviceLines(o, counts, v.names)...)
	lines = append(lines, l.originLine(v.now))
	for i := range lines {
		lines[i] = v.Wrap(printable(lines[i]), 2)
	}
	_, err := fmt.Fprintln(w, strings.Join(lines, "\n"))
	return err
}

// newView is the view of a command without flags for it.
func (a *app) newView(w io.Writer) view {
	return view{Look: screen.LookOf(w, screen.Auto, os.Getenv), names: a.names, now: time.Now()}
}

// serversOf writes the servers of some installs, if there are any. One install is not named in each row.
func (v view) serversOf(w io.Writer, servers []api.ServerStatus, installs int) error {
	switch {
	case len(servers) == 0:
		return nil
	case installs == 1:
		return v.servers(w, servers, "DIRECTORY", "INSTALL")
	}
	return v.servers(w, servers, "DIRECTORY")
}

// stateWords is the verdict with the state in the rollout, where that says more.
func stateWords(s *api.ServerStatus) string {
	if s.Rollout == nil || s.Rollout.State == rollout.None || s.Rollout.State == rollout.Skipped {
		return s.Verdict.String()
	}
	return s.Verdict.String() + ", " + s.Rollout.State.String()
}

// binaryWord is the file that a process runs: what that says of itself, or else its device and inode. The file of a process
// that is no server is not read.
func binaryWord(s *api.ServerStatus) string {
	switch {
	case s.Image.Known() || s.Runs.String() != "":
		return selector.Binary{Image: s.Image, Build: s.Runs}.String()
	case !api.IsServer(s.Server):
		return "-"
	}
	return "unknown"
}

// waitText is what a server waits for, with the times, the author and the reason; "": for nothing.
func waitText(w rollout.Wait, names *userNames, now time.Time) string {
	what, reason, hasReason := strings.Cut(w.Why, ": ")
	switch {
	case w.For == rollout.WaitResume && !w.Since.IsZero(), w.By != nil:
		text := what + " since " + clock(w.Since, now)
		if w.For == rollout.WaitInstall {
			text = what + " at " + clock(w.Since, now)
		}
		if w.By != nil {
			text += " by " + names.inText(*w.By)
		}
		if hasReason {
			text += ": " + reason
		}
		return text
	case w.For == rollout.WaitRetry:
		return w.Why + ", next at " + clock(w.Until, now)
	case w.For != "" && w.For != rollout.WaitResume && !w.Until.IsZero():
		return w.Why + ", until " + clock(w.Until, now) + " at the latest"
	}
	return w.Why
}

func filesLine(files []api.InstalledFile) string {
	if len(files) != 1 {
		return fmt.Sprintf("%d installs", len(files))
	}
	line, i := "install: ", files[0].Install
	if i.Image.Known() {
		line += i.Image.String() + " "
	}
	line += string(i.State)
	if i.Detail != "" {
		line += " (" + printable(i.Detail) + ")"
	}
	return line
}

// hiddenLines say what is not shown.
func (l *listing) hiddenLines(o *options) (lines []string) {
	for _, h := range []struct {
		n    int
		what string
	}{
		{l.Hidden.NotSelected, "of other users or containers than those asked for"},
		{l.Hidden.OtherInstall, "of other installs than " + strconv.Quote(o.installPath())},
		{l.Hidden.OtherUsers, "of other users"},
	} {
		if h.n > 0 {
			lines = append(lines, fmt.Sprintf("%s %s not shown: --all shows them", counted(h.n, "server"), h.what))
		}
	}
	return lines
}

// emptyLines say what was looked for where there is no server at all.
func (l *listing) emptyLines(o *options) []string {
	if len(l.Servers) > 0 || l.Hidden != (hidden{}) {
		return nil
	}
	return []string{
		fmt.Sprintf("looked for processes with %s and an argument %q: none of %s is one", nameWords(o.names), o.subcommand, visibleProcesses()),
		"list --all shows each process and why it is none, explain PID one of them; doctor checks this host",
	}
}

func nameWords(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = strconv.Quote(name)
	}
	return "argv[0] " + strings.Join(quoted, " or ") + ", with or without a path,"
}

// visibleProcesses counts the processes that can be seen.
func visibleProcesses() string {
	entries, _ := os.ReadDir("/proc") // without it, no command gets here
	n := 0
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err == nil {
			n++
		}
	}
	return counted(n, "process")
}

// adviceLines say what an operator can do about servers that cannot be upgraded.
func (l *listing) adviceLines(o *options, counts map[selector.Verdict]int, names *userNames) (lines []string) {
	if n := counts[selector.NotArmed]; n > 0 {
		i := slices.IndexFunc(l.Servers, func(s api.ServerStatus) bool { return s.Verdict == selector.NotArmed })
		lines = append(lines, fmt.Sprintf("%s not armed: started without %s; explain %d shows how to set it", counted(n, "server"), o.variable, l.Servers[i].PID))
	}
	if !l.IsSurvey || l.known.err == nil {
		return lines
	}
	perUser := make(map[uint32]int)
	for _, s := range l.Servers {
		perUser[s.UID]++
	}
	for uid, n := range perUser {
		if n > controller.DefaultMaxPerUser {
			lines = append(lines, fmt.Sprintf("%s has %d servers: a service upgrades %d of a user, unless it has --max-per-user",
				names.of(uid), n, controller.DefaultMaxPerUser))
		}
	}
	return lines
}

// originLine says where the answer comes from.
func (l *listing) originLine(now time.Time) string {
	s := &l.known.status
	service := fmt.Sprintf("the service (process %d, up %s)", s.PID, age(s.Started, now))
	switch {
	case !l.IsSurvey && s.Source == api.SourceProc:
		return "as " + service + " knows them by its last scan; --source proc reads them now"
	case !l.IsSurvey:
		return "as " + service + " knows them"
	case l.known.err == nil:
		return "read now; states, attempts and reasons are those of " + service
	case l.known.isAbsent:
		return "read now: " + l.known.without() + ", so nothing upgrades them but trigger"
	}
	return "read now: " + l.known.without()
}

// printServers writes a table of the report's servers, and marks those that are to be signalled, if there are any.
func (a *app) printServers(w io.Writer, r api.Report) error {
	v := a.newView(w)
	v.deliveries = make(map[selector.PID]string, len(r.Plan))
	for _, pid := range r.Plan {
		v.deliveries[pid] = "planned"
	}
	var servers []api.ServerStatus
	for _, s := range r.Servers {
		servers = append(servers, api.ServerStatus{Server: s})
	}
	return v.serversOf(w, servers, len(r.Installs))
}

// widestPath is a path of a home folder with some to spare.
const widestPath = 60

// sourceOf is the source of a report, with the reason where the scan stands in for the tracker.
func sourceOf(r api.Report) string {
	if r.SourceReason == "" {
		return string(r.Source)
	}
	return fmt.Sprintf("%s (%s)", r.Source, printable(r.SourceReason))
}
