// SPDX-License-Identifier: MIT

package outcome

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"ebpf-upgrader/test/report"
)

// State is the disposition of SIGUSR1 in a server of a version.
type State struct {
	Version string `json:"version"`
	// Where says whether the server has a configuration.
	Where string `json:"where"`
	// Before and After are the dispositions before and after initialize.
	Before string `json:"before"`
	After  string `json:"after"`
}

var (
	measured  = report.Section{Begin: "<!-- ragrat: written by make test-rag-rat -->\n", End: "<!-- ragrat: end -->\n"}
	onKernels = report.Section{Begin: "<!-- ragrat: written by make test-kernels -->\n", End: "<!-- ragrat: end of kernels -->\n"}
)

// Write writes the tables of a run into a document.
func Write(path string, states []State, results []Result) error {
	return measured.Write(path, fmt.Sprintf("Measured on %s%s.\n\n%s\n%s", report.Today(), report.Machine(), stateTable(states), Table(results)))
}

// OnKernel is a result in an emulated machine with some kernel.
type OnKernel struct {
	Kernel string
	Result
}

// WriteKernels writes a table for each kernel into a document, each with its date. The rows of a kernel are adjacent. The
// tables of kernels that have no row stay.
func WriteKernels(path string, rows []OnKernel) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	_, old, _, err := onKernels.Cut(string(text))
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	tables := make(map[string]string)
	for _, table := range strings.Split("\n"+old, kernelTitle)[1:] {
		name, _, _ := strings.Cut(table, ",")
		tables[name] = strings.TrimRight(table, "\n") + "\n"
	}
	for len(rows) > 0 {
		name := rows[0].Kernel
		var results []Result
		for len(rows) > 0 && rows[0].Kernel == name {
			results, rows = append(results, rows[0].Result), rows[1:]
		}
		tables[name] = fmt.Sprintf("%s, measured on %s:\n\n%s", name, report.Today(), Table(results))
	}
	var b strings.Builder
	for _, name := range slices.SortedFunc(maps.Keys(tables), byVersion) {
		b.WriteString(kernelTitle + tables[name])
	}
	return onKernels.Write(path, strings.TrimPrefix(b.String(), "\n"))
}

const kernelTitle = "\nLinux "

// byVersion puts 6.1 before 6.12: both parts are numbers without leading zeros.
func byVersion(a, b string) int {
	aMajor, aMinor, _ := strings.Cut(a, ".")
	bMajor, bMinor, _ := strings.Cut(b, ".")
	return cmp.Or(len(aMajor)-len(bMajor), cmp.Compare(aMajor, bMajor), len(aMinor)-len(bMinor), cmp.Compare(aMinor, bMinor))
}

func stateTable(states []State) string {
	var b strings.Builder
	b.WriteString("| rag-rat | configuration | before `initialize` | after |\n|---|---|---|---|\n")
	for _, s := range states {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", s.Version, s.Where, s.Before, s.After)
	}
	return b.String()
}

// Table has a row for each scenario, mode and version. Its figures are the lowest and the highest of the rounds.
func Table(results []Result) string {
	var b strings.Builder
	b.WriteString("| scenario | installed | mode | sessions | lost | of them silent | upgraded | missed | calls | calls lost | calls refused | last exec | rollout | ended by |\n" +
		"|" + strings.Repeat("---|", 14) + "\n")
	for _, rounds := range grouped(results) {
		r := rounds[0]
		of := func(get func(Result) int) string { return spread(rounds, get) }
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n",
			r.Scenario, r.installed(), r.Mode, of(func(r Result) int { return r.Sessions }), of(Result.LostSessions), of(func(r Result) int { return r.Silent }),
			of(func(r Result) int { return r.Upgraded }), of(func(r Result) int { return r.Missed }),
			of(func(r Result) int { return r.Calls }), of(func(r Result) int { return r.Lost }),
			of(func(r Result) int { return r.Refused }), lastExec(rounds),
			distinct(rounds, func(r Result) string { return r.Phase }), distinct(rounds, func(r Result) string { return r.Ends }))
	}
	return b.String()
}

func (r Result) installed() string {
	if r.From == r.To {
		return r.From
	}
	return r.From + ", then " + r.To
}

// grouped returns the rounds of each scenario, mode and version, in the order of the results.
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

// distinct lists the texts of the rounds, each once.
func distinct(rounds []Result, get func(Result) string) string {
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
