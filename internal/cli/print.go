// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"fmt"
	"io"
	"os"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/screen"
	"ebpf-upgrader/selector"
)

// printServers writes a table of the report's servers with what became of the planned signals, if there are any.
func printServers(w io.Writer, r api.Report) error {
	v := view{Look: screen.LookOf(w, screen.Auto, os.Getenv), names: newUserNames(), now: time.Now(), deliveries: deliveriesOf(r)}
	l := listing{Installs: make([]api.InstalledFile, len(r.Installs))}
	for _, s := range r.Servers {
		l.Servers = append(l.Servers, api.ServerStatus{Server: s})
	}
	return l.table(w, v)
}

// deliveriesOf is the result of the delivery to each planned process.
func deliveriesOf(r api.Report) map[selector.PID]string {
	deliveries := make(map[selector.PID]string, len(r.Plan))
	for _, pid := range r.Plan {
		deliveries[pid] = "planned"
	}
	for _, pid := range r.Sent {
		deliveries[pid] = "sent"
	}
	for _, f := range r.Failed {
		deliveries[f.PID] = f.Error
	}
	return deliveries
}

// widestArguments keeps a row of the table on one line of a usual terminal.
const widestArguments = 40

// widestPath is a path of a home folder with some to spare.
const widestPath = 60

func cut(text string, widest int) string {
	if runes := []rune(text); len(runes) > widest {
		return string(runes[:widest-1]) + "…"
	}
	return text
}

// sourceOf is the source of a report, with the reason where the scan stands in for the tracker.
func sourceOf(r api.Report) string {
	if r.SourceReason == "" {
		return string(r.Source)
	}
	return fmt.Sprintf("%s (%s)", r.Source, printable(r.SourceReason))
}
