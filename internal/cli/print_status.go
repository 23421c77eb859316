// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/daemon"
	"ebpf-upgrader/internal/rollout"
)

// printStatus fills one screen.
func printStatus(w io.Writer, s control.Status, now time.Time) error {
	table := newColumns(w)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(table, "%s\t%s\n", name, printable(fmt.Sprintf(format, args...)))
	}
	row("service", "process %d, version %s, up %s", s.PID, s.Version, since(s.Started, now))
	row("source", "%s", sourceLine(s))
	row("gate", "%s", gateLine(s, now))
	serves, sees := "the installs that were given", "the processes of the host"
	if s.Learned {
		serves = "every install that a server names"
	}
	if s.PIDNamespace != daemon.HostNamespace {
		sees = "the processes of " + s.PIDNamespace + ", not the host"
	}
	row("serves", "%s", serves)
	row("sees", "%s", sees)
	row("servers", "%s", daemon.Counts(s.Verdicts))
	if line := otherService(s, now); line != "" {
		row("", "%s", line)
	}
	if s.Paused {
		row("", "paused by an operator: ebpf-upgrader resume")
	}
	if s.JournalError != "" {
		row("journal", "%s: no server is signalled until it can be written", s.JournalError)
	}
	for _, r := range s.Rollouts {
		if w := r.Waits; w.Servers > 0 {
			row("waits", "%s: %d busy, the longest for %.1f s: signalled as soon as idle, at the latest after --quiet-within", r.Install.Path, w.Servers, now.Sub(w.Since).Seconds())
		}
	}
	for _, line := range haltLines(s.Status) {
		row("halted", "%s", line)
	}
	if w := s.Watching; w.Polled+w.Stuck > 0 {
		row("watches", "%d of %d installs are checked every 2 s for lack of watches; %d lookups hang", w.Polled, w.Installs, w.Stuck)
	}
	if t := s.Tracker; t != nil {
		row("map", "%d of %d entries; %d lost, %d scans, audits found %d missing and %d extra",
			t.Entries, t.Capacity, t.Lost(), t.Resyncs, t.AuditMissing, t.AuditExtra)
	}
	if err := table.Flush(); err != nil || len(s.Installs) == 0 {
		return err
	}
	return printInstalls(w, s.Status, now)
}

// maxHalts keeps the reasons on the screen.
const maxHalts = 8

// haltLines name the users that get no more signals, with the reason, and the deaths after signals of other senders.
func haltLines(s api.Status) []string {
	var lines []string
	for _, r := range s.Rollouts {
		for _, h := range r.Halts {
			lines = append(lines, fmt.Sprintf("%s, uid %d: %s", r.Install.Path, h.UID, h.Reason))
		}
		for _, f := range r.Foreign {
			lines = append(lines, fmt.Sprintf("%s: %s", r.Install.Path, f))
		}
	}
	for _, i := range s.Installs {
		if i.Deaths > 0 {
			lines = append(lines, fmt.Sprintf("%s: %d died after signals of other senders, with a file that never settled", i.Path, i.Deaths))
		}
	}
	if len(lines) == 0 {
		return nil
	}
	if more := len(lines) - maxHalts; more > 0 {
		lines = append(lines[:maxHalts], fmt.Sprintf("and %d more", more))
	}
	return append(lines, "waits for a newer binary, or: ebpf-upgrader resume")
}

// maxInstalls keeps the table of installs on the screen.
const maxInstalls = 24

// printInstalls writes a row for each install, ordered by how far its rollout is from the end, the farthest first.
func printInstalls(w io.Writer, s api.Status, now time.Time) error {
	rollouts := make(map[uint64]rollout.Report)
	for _, r := range s.Rollouts {
		rollouts[r.Number] = r
	}
	slices.SortStableFunc(s.Installs, func(a, b api.InstallStatus) int {
		return daemon.Remaining(rollouts[a.Rollout].Phase) - daemon.Remaining(rollouts[b.Rollout].Phase)
	})
	fmt.Fprintln(w)
	table := newColumns(w)
	fmt.Fprintln(table, "INSTALL\tUID\tCONTAINER\tIMAGE\tSERVERS\tROLLOUT")
	for _, i := range s.Installs[:min(len(s.Installs), maxInstalls)] {
		uid := strconv.Itoa(int(i.UID))
		if !s.Learned {
			uid = "any"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%s\n", cut(printable(i.Path), widestPath), uid, containerName(i.Container),
			installLine(i.Install), i.Servers, rolloutLine(rollouts[i.Rollout], now))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if more := len(s.Installs) - maxInstalls; more > 0 {
		_, err := fmt.Fprintf(w, "and %d more: status -o json\n", more)
		return err
	}
	return nil
}

func since(t, now time.Time) string { return now.Sub(t).Round(time.Second).String() }

func sourceLine(s control.Status) string {
	switch {
	case s.Source == api.SourceProc:
		return "scan of /proc"
	case s.WatchesSignals:
		return "eBPF; the signals of other senders are seen"
	}
	return "eBPF"
}

// gateLine counts what the gate refused, or says why there is none.
func gateLine(s control.Status, now time.Time) string {
	g := s.Gate
	if !g.Active {
		return fmt.Sprintf("none (%s): the servers' own signals are not refused", g.Reason)
	}
	line := fmt.Sprintf("active (%s): %d of the servers' own signals refused", g.Way, g.Refused)
	if len(g.Latest) > 0 {
		last := g.Latest[0]
		line += fmt.Sprintf(", the last from %d to %d %s ago", last.Sender, last.Target, since(last.Last, now))
	}
	if t := s.Tracker; t != nil && t.Outside > 0 {
		line += fmt.Sprintf("; %d servers are outside: raise --max-entries", t.Outside)
	}
	if g.Missed > 0 {
		line += fmt.Sprintf("; %d passed unseen", g.Missed)
	}
	return line
}

func rolloutLine(r rollout.Report, now time.Time) string {
	if r.Number == 0 {
		return string(rollout.PhaseIdle)
	}
	return fmt.Sprintf("%d, %s, begun %s ago: %s", r.Number, r.Phase, since(r.Started, now), daemon.Outcomes(r))
}
