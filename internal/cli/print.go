// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/selector"
)

// columns is a table with aligned columns. Flush writes all of it at once: a tabwriter alone makes a system call for each
// cell.
type columns struct {
	*tabwriter.Writer
	out *bufio.Writer
}

func newColumns(w io.Writer) columns {
	out := bufio.NewWriter(w)
	return columns{tabwriter.NewWriter(out, 0, 0, 2, ' ', 0), out}
}

// Flush writes the table.
func (c columns) Flush() error { return errors.Join(c.Writer.Flush(), c.out.Flush()) }

// printServers writes a table of the report's servers, if there are any. The columns "delivery", "container" and "install"
// are left out where they would be the same in each row.
func printServers(w io.Writer, r api.Report) error {
	if len(r.Servers) == 0 {
		return nil
	}
	deliveries := deliveriesOf(r)
	contained := slices.ContainsFunc(r.Servers, func(s api.Server) bool { return s.Container != "" })
	table, names := newColumns(w), newUserNames()
	row := func(pid, user, container, verdict, delivery, installed, rest string) {
		cells := []string{pid, user}
		if contained {
			cells = append(cells, container)
		}
		cells = append(cells, verdict)
		if len(deliveries) > 0 {
			cells = append(cells, delivery)
		}
		if len(r.Installs) != 1 {
			cells = append(cells, installed)
		}
		fmt.Fprintln(table, strings.Join(append(cells, rest), "\t"))
	}
	row("PID", "USER", "CONTAINER", "VERDICT", "DELIVERY", "INSTALL", "IMAGE\tARGUMENTS\tDETAIL")
	for _, s := range r.Servers {
		row(s.PID.String(), names.of(s.UID), names.container(s.Container), s.Verdict.String(), printable(deliveries[s.PID]),
			cut(printable(s.UpgradeBin), widestPath), fmt.Sprintf("%s\t%s\t%s", s.Image, shortened(s.Args), printable(s.Detail)))
	}
	return table.Flush()
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

func shortened(args []string) string {
	return cut(printable(strings.Join(args, " ")), widestArguments)
}

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
