// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/daemon"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/internal/screen"
)

// view says how a status is written.
type view struct {
	screen.Look
	// isWide shows all columns in full, and isVerbose the figures for developers.
	isWide, isVerbose bool
	names             *userNames
	now               time.Time
}

// keyWidth is the width of the first words of the lines about the service.
const keyWidth = 10

// line writes a line about the service: a word, and what is to be said about it.
func (v view) line(w io.Writer, style screen.Style, key, format string, args ...any) {
	text := v.Wrap(printable(fmt.Sprintf(format, args...)), keyWidth)
	fmt.Fprintf(w, "%s%s\n", v.Paint(style, fmt.Sprintf("%-*s", keyWidth, key)), text)
}

// printStatus writes the health of a service, what needs an operator, and the installs.
func printStatus(w io.Writer, s control.Status, v view) error {
	h := healthOf(s, v.names)
	fmt.Fprintln(w, v.Paint(h.style(), v.Wrap(printable(h.Summary), 0)))
	fmt.Fprintln(w)
	v.halts(w, s)
	v.pause(w, s)
	v.about(w, s)
	if len(s.Installs) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	return v.installs(w, s.Status)
}

// pause says since when no server is signalled at an operator's wish.
func (v view) pause(w io.Writer, s control.Status) {
	switch {
	case !s.Paused:
		return
	case s.PausedSince.IsZero():
		v.line(w, screen.Warning, "paused", "before this service started")
	default:
		v.line(w, screen.Warning, "paused", "since %s (%s)%s", clock(s.PausedSince, v.now), ago(s.PausedSince, v.now), v.pausedBy(s))
	}
	v.line(w, screen.Plain, "", "no server is signalled until: ebpf-upgrader resume")
}

// pausedBy says which user paused the service, and why.
func (v view) pausedBy(s control.Status) (text string) {
	if s.PausedBy != nil {
		text = " by " + v.names.inText(*s.PausedBy)
	}
	if s.PauseReason != "" {
		text += ": " + s.PauseReason
	}
	return text
}

// about says which process serves what. What is as usual is shown with --verbose only.
func (v view) about(w io.Writer, s control.Status) {
	v.line(w, screen.Plain, "service", "process %d, version %s, up %s", s.PID, s.Version, age(s.Started, v.now))
	v.line(w, screen.Plain, "servers", "%s", daemon.Counts(s.Verdicts))
	if line := otherService(s, v.now); line != "" {
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
	if s.HistoryError != "" {
		v.line(w, screen.Warning, "history", "not all of it is kept: %s", s.HistoryError)
	}
	v.figures(w, s)
}

// figures are for developers, unless they are bad.
func (v view) figures(w io.Writer, s control.Status) {
	if watching := s.Watching; watching.Polled+watching.Stuck > 0 {
		v.line(w, screen.Warning, "watches", "%d of %d installs are checked every 2 s for lack of watches; %d lookups hang", watching.Polled, watching.Installs, watching.Stuck)
	} else if v.isVerbose {
		v.line(w, screen.Plain, "watches", "%d of %d installs", watching.Watches, watching.Installs)
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
			short = append(short, containerName(c))
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

// maxHalts keeps the reasons on the screen.
const maxHalts = 8

// halts says which users' servers get no more signals and why, what other senders did, and what to do.
func (v view) halts(w io.Writer, s control.Status) {
	shown, paths := 0, []string{}
	for _, r := range s.Rollouts {
		for _, h := range r.Halts {
			if shown++; shown <= maxHalts {
				v.halt(w, r, h)
			}
			paths = append(paths, r.Install.Path)
		}
		for _, f := range r.Foreign {
			v.line(w, screen.Bad, "died", "%s: %s", r.Install.Path, f)
		}
	}
	for _, i := range s.Installs {
		if i.Deaths > 0 {
			v.line(w, screen.Bad, "died", "%s: %d after signals of other senders, with a file that never settled", i.Path, i.Deaths)
		}
	}
	if more := shown - maxHalts; more > 0 {
		v.line(w, screen.Bad, "halted", "and %d more: status -o json", more)
	}
	if shown > 0 {
		v.remedy(w, slices.Compact(paths))
	}
}

// halt says why the servers of one user are not signalled.
func (v view) halt(w io.Writer, r rollout.Report, h rollout.Halt) {
	v.line(w, screen.Bad, "halted", "%s for %s since %s (%s), rollout %d", r.Install.Path, v.names.inText(h.UID), clock(h.Since, v.now), ago(h.Since, v.now), r.Number)
	v.line(w, screen.Plain, "", "%s", h.Reason)
}

// remedy says what an operator can do about the halts at these paths.
func (v view) remedy(w io.Writer, paths []string) {
	path := "PATH"
	if len(paths) == 1 {
		path = quotedArgument(paths[0])
	}
	v.line(w, screen.Plain, "to do", "install a newer good binary: the rollout of that begins by itself")
	v.line(w, screen.Plain, "", "ebpf-upgrader resume --install-path %s tries one more server", path)
	v.line(w, screen.Plain, "", "ebpf-upgrader abandon %s gives this binary up", path)
	v.line(w, screen.Plain, "", "to put the old binary back does not undo an index that the new one has migrated")
	fmt.Fprintln(w)
}

// quotedArgument is a path as a shell takes it.
func quotedArgument(path string) string {
	isPlain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+,:@%", r)
	}
	if strings.ContainsFunc(path, func(r rune) bool { return !isPlain(r) }) {
		return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
	}
	return path
}
