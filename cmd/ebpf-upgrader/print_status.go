// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"ebpf-upgrader/control"
	"ebpf-upgrader/upgrade"
)

// printStatus fills one screen.
func printStatus(w io.Writer, s control.Status, now time.Time) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(table, "%s\t%s\n", name, printable(fmt.Sprintf(format, args...)))
	}
	row("service", "process %d, version %s, up %s", s.PID, s.Version, since(s.Started, now))
	row("source", "%s", sourceLine(s))
	row("install", "%s %s", s.Install.Path, installLine(s.Install))
	row("servers", "%s", inWords(s.Verdicts))
	row("rollout", "%s", rolloutLine(s.Rollout, now))
	if s.Paused {
		row("", "paused by an operator: ebpf-upgrader resume")
	}
	if s.Rollout.Phase == upgrade.PhaseHalted {
		row("", "nobody is signalled until another binary lands, or: ebpf-upgrader resume")
	}
	if t := s.Tracker; t != nil {
		row("map", "%d of %d entries; %d lost, %d scans, audits found %d missing and %d extra",
			t.Entries, t.Capacity, t.Lost(), t.Resyncs, t.AuditMissing, t.AuditExtra)
	}
	return table.Flush()
}

func since(t, now time.Time) string { return now.Sub(t).Round(time.Second).String() }

func sourceLine(s control.Status) string {
	switch {
	case s.Source == upgrade.SourceProc:
		return "scan of /proc"
	case s.WatchesSignals:
		return "eBPF; the signals of other senders are seen"
	}
	return "eBPF"
}

func rolloutLine(r upgrade.Rollout, now time.Time) string {
	if r.Number == 0 {
		return string(r.Phase)
	}
	return fmt.Sprintf("%d, %s, begun %s ago: %s", r.Number, r.Phase, since(r.Started, now), outcomes(r))
}

// eventLine is one event for a person to read.
func eventLine(e control.Event) string {
	line := fmt.Sprintf("%6d  %s  ", e.Seq, e.Time.Local().Format("15:04:05.000"))
	switch e.Kind {
	case control.EventServer:
		line += fmt.Sprintf("server %d: %s -> %s", e.PID, e.From, e.State)
		if e.ByOther && *e.State == upgrade.Notified {
			line += ", by somebody else"
		}
	case control.EventRollout:
		line += fmt.Sprintf("rollout %d: %s", e.Rollout, e.Phase)
	case control.EventRound:
		line += fmt.Sprintf("round (%s): %d looked at, %d to be asked", e.Reason, e.Servers, e.Planned)
	case control.EventRefused:
		line += fmt.Sprintf("server %d: not asked", e.PID)
	case control.EventLost:
		line += fmt.Sprintf("%d events are not kept any more", e.Lost)
	default:
		line += string(e.Kind)
	}
	if e.Detail != "" {
		line += " (" + e.Detail + ")"
	}
	return line
}
