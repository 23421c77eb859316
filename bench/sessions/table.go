// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"ebpf-upgrader/test/report"
)

// tableSection is the part of the document with the table.
var tableSection = report.Section{Begin: "<!-- sessions: written by make bench-sessions -->\n", End: "<!-- sessions: end -->\n"}

// table formats a line for each row.
func table(all []*figures) string {
	var b strings.Builder
	b.WriteString("| clients | stdin | index | schema | upgraded by | rag-rat | upgrades | lost | lost per upgrade | refused | most in a round | other errors | " +
		"ended | missed | worst call | mean wait | longest wait | last exec | worst last exec |\n|" + strings.Repeat("---|", 19) + "\n")
	for _, f := range all {
		fmt.Fprintf(&b, "| %s | %s | %d | %d | %.3f | %d | %d | %d | %d | %d | %s | %s | %s | %s | %s |\n",
			strings.ReplaceAll(f.Row, "/", " | "), f.versions(), f.Upgrades, f.Lost, f.lostPerUpgrade(), f.Refused, f.WorstRefused, f.Failed, f.Ended, f.Missed,
			seconds(f.WorstCall), seconds(f.MeanWait), seconds(f.LongestWait), seconds(f.LastExec), seconds(f.WorstLastExec))
	}
	return b.String()
}

// versions names what was installed over what.
func (f *figures) versions() string {
	if f.From == f.To {
		return f.From
	}
	return f.From + ", then " + f.To
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

func (f *figures) String() string {
	return fmt.Sprintf("%s, %s to %s: %d upgrades in %d rounds of %d; %d calls, %d lost (%.3f per upgrade), %d refused (at most %d a round), %d failed; "+
		"%d sessions ended, %d missed. Worst call %s; exec after %s in the mean, %s at most; the last of a round after %s, %s at most",
		f.Row, f.From, f.To, f.Upgrades, f.Rounds, f.Sessions, f.Calls, f.Lost, f.lostPerUpgrade(), f.Refused, f.WorstRefused, f.Failed,
		f.Ended, f.Missed, seconds(f.WorstCall), seconds(f.MeanWait), seconds(f.LongestWait), seconds(f.LastExec), seconds(f.WorstLastExec))
}

// sorted returns the figures of rows in the order of the rows; nil if one has none.
func sorted(of []row, all []*figures) []*figures {
	var found []*figures
	for _, r := range of {
		i := slices.IndexFunc(all, func(f *figures) bool { return f.Row == r.String() })
		if i < 0 {
			return nil
		}
		found = append(found, all[i])
	}
	return found
}

// write writes the table if every row of the document has figures.
func write(path, command string, all []*figures) error {
	of, err := choose("")
	if path == "" || err != nil {
		return err
	}
	found := sorted(of, all)
	if found == nil {
		fmt.Printf("sessions: %s is not written: not all of its %d rows are measured\n", path, len(of))
		return nil
	}
	last := slices.MaxFunc(found, func(a, b *figures) int { return strings.Compare(a.Date, b.Date) })
	text := fmt.Sprintf("Measured until %s%s, with `%s`.\n\n", last.Date, report.Machine(), command)
	return tableSection.Write(path, text+table(found))
}
