// SPDX-License-Identifier: MIT

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"ebpf-upgrader/selector"
	"ebpf-upgrader/upgrade"
)

// printable keeps text that a process chose, which may hold anything, from moving the cursor or
// starting a new line.
func printable(s string) string {
	var b strings.Builder
	for _, r := range s {
		if strconv.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRune(r)
		b.WriteString(quoted[1 : len(quoted)-1])
	}
	return b.String()
}

func printJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(v); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// printServers writes a table of the report's servers, if there are any. The column "delivery" is there only if
// something was planned.
func printServers(w io.Writer, r upgrade.Report) error {
	if len(r.Servers) == 0 {
		return nil
	}
	deliveries := deliveriesOf(r)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	header := "PID\tUID\tVERDICT"
	if len(deliveries) > 0 {
		header += "\tDELIVERY"
	}
	fmt.Fprintln(table, header+"\tIMAGE\tARGUMENTS\tDETAIL")
	for _, s := range r.Servers {
		row := fmt.Sprintf("%d\t%d\t%s", s.PID, s.UID, s.Verdict)
		if len(deliveries) > 0 {
			row += "\t" + printable(deliveries[s.PID])
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", row, s.Image, shortened(s.Args), printable(s.Detail))
	}
	return table.Flush()
}

// deliveriesOf says for each planned process what became of its delivery.
func deliveriesOf(r upgrade.Report) map[selector.PID]string {
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
	text := printable(strings.Join(args, " "))
	if runes := []rune(text); len(runes) > widestArguments {
		return string(runes[:widestArguments-1]) + "…"
	}
	return text
}

// summary counts the verdicts in one line.
func summary(r upgrade.Report) string {
	counts := make(map[selector.Verdict]int)
	for _, s := range r.Servers {
		counts[s.Verdict]++
	}
	return inWords(counts)
}

func inWords(counts map[selector.Verdict]int) string {
	var parts []string
	for _, v := range selector.Verdicts() {
		if n := counts[v]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, v))
		}
	}
	if len(parts) == 0 {
		return "no servers"
	}
	return strings.Join(parts, ", ")
}
