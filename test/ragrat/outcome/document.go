// SPDX-License-Identifier: MIT

package outcome

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// State is what a server of a version does with SIGUSR1.
type State struct {
	Version string `json:"version"`
	// Where is with or without a configuration.
	Where string `json:"where"`
	// Before and After initialize.
	Before string `json:"before"`
	After  string `json:"after"`
}

// place is where tables stand in a document: between two lines.
type place struct{ begin, end string }

var (
	measured  = place{"<!-- ragrat: written by make test-rag-rat -->\n", "<!-- ragrat: end -->\n"}
	onKernels = place{"<!-- ragrat: written by make test-kernels -->\n", "<!-- ragrat: end of kernels -->\n"}
)

var errNoPlace = errors.New("the comments are missing between which the tables stand")

func (p place) write(path, text string) error { return Insert(path, p.begin, p.end, text) }

// Insert writes a text between two lines of a document.
func Insert(path, begin, end, text string) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, begins := strings.Cut(string(old), begin)
	_, behind, ends := strings.Cut(rest, end)
	if !begins || !ends {
		return fmt.Errorf("write %s: %w", path, errNoPlace)
	}
	return os.WriteFile(path, []byte(before+begin+text+end+behind), 0o644)
}

// Write puts the tables into a document.
func Write(path string, states []State, results []Result) error {
	return measured.write(path, fmt.Sprintf("Measured on %s%s.\n\n%s\n%s", Today(), Machine(), stateTable(states), Table(results)))
}

// Machine says where it was measured. Other work on the same processors delays a signal more than anything else.
func Machine() string {
	text := fmt.Sprintf(" on %d processors", runtime.NumCPU())
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		text += ", Linux " + strings.TrimSpace(string(release))
	}
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		fields := strings.Fields(string(load))
		text += fmt.Sprintf(", load average %s at the end", fields[min(2, len(fields)-1)])
	}
	return text
}

// Today is the date, in UTC.
func Today() string { return time.Now().UTC().Format(time.DateOnly) }

// OnKernel is a result on a kernel that was booted for it.
type OnKernel struct {
	Kernel string
	Result
}

// WriteKernels puts a table for each kernel into a document.
func WriteKernels(path string, rows []OnKernel) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Measured on %s.\n", Today())
	for len(rows) > 0 {
		var results []Result
		name := rows[0].Kernel
		for len(rows) > 0 && rows[0].Kernel == name {
			results, rows = append(results, rows[0].Result), rows[1:]
		}
		fmt.Fprintf(&b, "\nLinux %s:\n\n%s", name, Table(results))
	}
	return onKernels.write(path, b.String())
}

func stateTable(states []State) string {
	var b strings.Builder
	b.WriteString("| rag-rat | configuration | before `initialize` | after |\n|---|---|---|---|\n")
	for _, s := range states {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", s.Version, s.Where, s.Before, s.After)
	}
	return b.String()
}

// Table has a row for each scenario, mode and version, with the least and the most of its rounds.
func Table(results []Result) string {
	var b strings.Builder
	b.WriteString("| scenario | installed | mode | sessions | lost | of them silent | upgraded | missed | calls | calls lost | calls refused | last exec | rollout | ended by |\n" +
		"|" + strings.Repeat("---|", 14) + "\n")
	for _, rounds := range grouped(results) {
		r := rounds[0]
		of := func(get func(Result) int) string { return spread(rounds, get) }
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n",
			r.Scenario, r.what(), r.Mode, of(func(r Result) int { return r.Sessions }), of(Result.LostSessions), of(func(r Result) int { return r.Silent }),
			of(func(r Result) int { return r.Upgraded }), of(func(r Result) int { return r.Missed }),
			of(func(r Result) int { return r.Calls }), of(func(r Result) int { return r.Lost }),
			of(func(r Result) int { return r.Refused }), lastExec(rounds),
			said(rounds, func(r Result) string { return r.Phase }), said(rounds, func(r Result) string { return r.Ends }))
	}
	return b.String()
}

func (r Result) what() string {
	if r.From == r.To {
		return r.From
	}
	return r.From + ", then " + r.To
}

// grouped are the rounds of each scenario, mode and version, in the order in which they came.
func grouped(results []Result) [][]Result {
	type key struct {
		scenario, from, to string
		mode               Mode
	}
	at := make(map[key]int)
	var groups [][]Result
	for _, r := range results {
		k := key{r.Scenario, r.From, r.To, r.Mode}
		i, known := at[k]
		if !known {
			i = len(groups)
			at[k] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], r)
	}
	return groups
}

func spread(rounds []Result, get func(Result) int) string {
	least, most := get(rounds[0]), get(rounds[0])
	for _, r := range rounds {
		least, most = min(least, get(r)), max(most, get(r))
	}
	return bounds(least, most)
}

func lastExec(rounds []Result) string {
	var most time.Duration
	for _, r := range rounds {
		most = max(most, r.LastExec)
	}
	if most == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f s", most.Seconds())
}

// said are the words of the rounds, each once.
func said(rounds []Result, get func(Result) string) string {
	var words []string
	for _, r := range rounds {
		if word := get(r); word != "" && !slices.Contains(words, word) {
			words = append(words, word)
		}
	}
	if len(words) == 0 {
		return "–"
	}
	return strings.Join(words, "; ")
}
