// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/daemon"
	"ebpf-upgrader/internal/screen"
	"ebpf-upgrader/selector"
)

// view says how a status is written.
type view struct {
	screen.Look
	// isWide shows all columns in full, and isVerbose the figures for developers.
	isWide, isVerbose bool
	names             *userNames
	now               time.Time
	// deliveries marks the servers of a plan; empty: there is none.
	deliveries map[selector.PID]string
}

// keyWidth is the width of the first words of the lines about the service.
const keyWidth = 10

// line writes a line about the service: a word, and what is to be said about it.
func (v view) line(w io.Writer, style screen.Style, key, format string, args ...any) {
	text := v.Wrap(printable(fmt.Sprintf(format, args...)), keyWidth)
	fmt.Fprintf(w, "%s%s\n", v.Paint(style, fmt.Sprintf("%-*s", keyWidth, key)), text)
}

// printStatus writes the health of a service, what needs an operator, and the installs.
func printStatus(w io.Writer, s statusJSON, v view) error {
	v.head(w, s)
	v.about(w, s.Status)
	if len(s.Installs) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	return v.installs(w, s.Status.Status)
}

// head writes whether all is well, and what hinders a rollout.
func (v view) head(w io.Writer, s statusJSON) {
	fmt.Fprintln(w, v.Paint(s.Health.style(), v.Wrap(printable(s.Health.Summary), 0)))
	fmt.Fprintln(w)
	v.halts(w, s.Status)
	v.late(w, s.Status)
	v.pauses(w, s.Status)
	v.abandoned(w, s.Status)
	v.unready(w, s.Status.Status)
}

// table writes a table, with all cells in full if the view is wide.
func (v view) table(w io.Writer, t *screen.Table) error {
	look := v.Look
	if v.isWide {
		look.Width = 0
	}
	return t.Write(w, look)
}

// pauses say for which users an operator has paused the service.
func (v view) pauses(w io.Writer, s control.Status) {
	if s.Paused {
		v.line(w, screen.Warning, "paused", "%s", v.names.pause(s.Status))
		v.line(w, screen.Plain, "", "no server is signalled until: ebpf-upgrader resume")
	}
	for _, p := range s.PausedUsers {
		v.line(w, screen.Warning, "paused", "for %s %s", v.names.full(p.User), v.names.act(p.Act))
	}
}

// abandoned says which rollouts an operator has given up.
func (v view) abandoned(w io.Writer, s control.Status) {
	for _, r := range s.Rollouts {
		for _, a := range r.Abandoned {
			v.line(w, screen.Warning, "abandoned", "%s %s", r.Install.Path, v.names.abandonment(a))
		}
	}
}

// unarmedShown is how long a server may take to arm itself before status says so: usually it takes milliseconds.
const unarmedShown = 5 * time.Second

// about says which process serves what. What is as usual is shown with --verbose only.
func (v view) about(w io.Writer, s control.Status) {
	v.line(w, screen.Plain, "service", "process %d, version %s, up %s", s.PID, s.Version, age(s.Started, v.now))
	v.line(w, screen.Plain, "servers", "%s", daemon.Counts(s.Verdicts))
	if line := v.otherService(s); line != "" {
		v.line(w, screen.Warning, "", "%s", line)
	}
	if s.Source == api.SourceProc || v.isVerbose {
		v.line(w, screen.Plain, "source", "%s", sourceLine(s))
	}
	if !s.Gate.Active || s.Gate.Missed > 0 || s.Tracker != nil && s.Tracker.Outside > 0 || v.isVerbose {
		v.line(w, screen.Plain, "gate", "%s", v.gate(s))
	}
	if serves := v.serves(s); serves != "" || v.isVerbose {
		v.line(w, screen.Plain, "serves", "%s", cmp.Or(serves, "every install that a server names"))
	}
	if s.PIDNamespace != daemon.HostNamespace {
		v.line(w, screen.Plain, "sees", "the processes of %s, not the host", s.PIDNamespace)
	} else if v.isVerbose {
		v.line(w, screen.Plain, "sees", "the processes of the host")
	}
	for _, r := range s.Rollouts {
		if waits := r.Waits; waits.Servers > 0 {
			v.line(w, screen.Plain, "waits", "%s: %d busy, the longest for %s: signalled as soon as idle, at the latest after --quiet-within",
				r.Install.Path, waits.Servers, took(v.now.Sub(waits.Since)))
		}
	}
	for _, r := range s.Rollouts {
		if u := r.Unarmed; u != nil && v.now.Sub(u.Since) > unarmedShown {
			v.line(w, screen.Warning, "waits", "%s: server %d has run the new binary for %s and is not armed yet; if it is not by %s, the rollout halts",
				r.Install.Path, u.PID, took(v.now.Sub(u.Since)), clock(u.HaltsAt, v.now))
			v.line(w, screen.Plain, "to do", "if it hangs: install a good binary, and start that server anew; ebpf-upgrader abandon %s gives this binary up", r.Install.Path)
		}
	}
	v.fleet(w, s.Fleet)
	for _, line := range v.staged(s) {
		style := screen.Plain
		if line.isBad {
			style = screen.Warning
		}
		v.line(w, style, "staged", "%s", line.text)
	}
	if s.HistoryError != "" {
		v.line(w, screen.Warning, "history", "not all of it is kept: %s", s.HistoryError)
	}
	v.figures(w, s)
}

// otherService says that the service leaves its servers to another one, or waits for that; empty: it does neither.
func (v view) otherService(s control.Status) string {
	if by := s.StandsBy; by != nil {
		process := "another process"
		if by.PID != 0 {
			process = fmt.Sprintf("process %d", by.PID)
		}
		return fmt.Sprintf("stands by: %s of %s serves these servers", process, v.names.inText(by.UID))
	}
	var until time.Time
	for _, r := range s.Rollouts {
		if r.YieldsUntil.After(until) {
			until = r.YieldsUntil
		}
	}
	if !until.After(v.now) {
		return ""
	}
	return fmt.Sprintf("waits until %s for a service of the host, which cannot be seen from here", until.Local().Format("15:04:05"))
}

// figures are for developers, unless they are bad.
func (v view) figures(w io.Writer, s control.Status) {
	if watching := s.Watching; watching.Polled+watching.Stuck > 0 {
		v.line(w, screen.Warning, "watches", "%d of %d installs are checked every 2 s for lack of watches; %d lookups hang", watching.Polled, watching.Installs, watching.Stuck)
	} else if v.isVerbose {
		v.line(w, screen.Plain, "watches", "%s of the kernel for %s", counted(watching.Watches, "watch"), counted(watching.Installs, "install"))
	}
	t := s.Tracker
	if t == nil || !v.isVerbose && t.Lost() == 0 && t.AuditMissing+t.AuditExtra == 0 {
		return
	}
	v.line(w, screen.Plain, "map", "%d of %d entries; %d lost, %d scans, audits found %d missing and %d extra",
		t.Entries, t.Capacity, t.Lost(), t.Resyncs, t.AuditMissing, t.AuditExtra)
}

// serves says what a service leaves out; empty: nothing.
func (v view) serves(s control.Status) string {
	var parts []string
	if !s.Learned {
		parts = append(parts, "the installs that were given")
	}
	if of := s.Serves; !of.IsEverything() {
		if len(of.Users) > 0 {
			parts = append(parts, "only servers of "+v.names.list(of.Users))
		}
		var short []string
		for _, c := range of.Containers {
			short = append(short, v.names.container(c))
		}
		if len(short) > 0 {
			parts = append(parts, "only servers in container "+listed(short))
		}
		if of.NoContainers {
			parts = append(parts, "no servers in containers")
		}
	}
	return strings.Join(parts, "; ")
}

func sourceLine(s control.Status) string {
	switch {
	case s.Source == api.SourceProc:
		return "scan of /proc"
	case s.WatchesSignals:
		return "eBPF; the signals of other senders are seen"
	}
	return "eBPF"
}

// gate counts what the gate refused, or says why there is none.
func (v view) gate(s control.Status) string {
	g := s.Gate
	if !g.Active {
		return fmt.Sprintf("none (%s): the servers' own signals are not refused", g.Reason)
	}
	line := fmt.Sprintf("active (%s): %d of the servers' own signals refused", g.Way, g.Refused)
	if len(g.Latest) > 0 {
		last := g.Latest[0]
		line += fmt.Sprintf(", the last from %d to %d %s", last.Sender, last.Target, ago(last.Last, v.now))
	}
	if t := s.Tracker; t != nil && t.Outside > 0 {
		line += fmt.Sprintf("; %d servers are outside: raise --max-entries", t.Outside)
	}
	if g.Missed > 0 {
		line += fmt.Sprintf("; %d passed unseen", g.Missed)
	}
	return line
}
