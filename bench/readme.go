// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"ebpf-upgrader/test/report"
)

var readmeSection = report.Section{Begin: "<!-- bench: written by make bench -->\n", End: "<!-- bench: end -->\n"}

// writeReadme writes the section of docs/PROOF.md, if all of its figures have been measured.
func (r *results) writeReadme(path string) error {
	text, err := r.summary()
	if err != nil {
		fmt.Println("the README is not written:", err)
		return nil
	}
	return readmeSection.Write(path, text)
}

// summary formats the section of docs/PROOF.md.
func (r *results) summary() (string, error) {
	var b strings.Builder
	find := r.Sections["find"]
	fmt.Fprintf(&b, "Finding 200 outdated servers among 20,000 processes, medians measured in turns\n(%s, Linux %s, %s; `make bench`). The walk is the\n"+
		"servers' own trigger as a lean Go program of ours:\n\n| | ms | times as fast as the walk |\n|---|---|---|\n",
		find.Machine, find.Kernel, find.Date)
	found := 0
	for _, m := range find.Measures {
		if m.Processes == usualHost && m.Servers == usualServers {
			found++
			fmt.Fprintf(&b, "| %s | %s | %s |\n", shown(m.Name), rounded(m.Millis), rounded(m.Times))
		}
	}
	sentence, err := r.sentence()
	if found == 0 {
		err = errors.Join(err, errors.New("find was not measured"))
	}
	b.WriteString(sentence)
	return b.String(), err
}

// shown is the name of a series in the README. A tool is named by its command.
func shown(name string) string {
	switch name {
	case theWalk:
		return "the walk"
	case ourScan:
		return "our scan"
	case ourTracker:
		return "candidates from the running tracker"
	case ourPlan:
		return "the same, each verified"
	}
	return "`" + name + "`"
}

// rounded formats two or three significant digits without an exponent.
func rounded(x float64) string {
	switch {
	case x >= 1000:
		n := int(math.Round(x/10) * 10)
		return fmt.Sprintf("%d,%03d", n/1000, n%1000)
	case x >= 100:
		return fmt.Sprintf("%.0f", x)
	}
	return strconv.FormatFloat(x, 'g', 2, 64)
}

// sentence formats the figures of the other sections.
func (r *results) sentence() (string, error) {
	var missing []error
	figure := func(section, name, unit string) float64 {
		m, measured := r.find(section, func(m Measure) bool {
			return m.Name == name && m.Unit == unit && (section != "rollout" || m.Servers == 1000)
		})
		if !measured {
			missing = append(missing, fmt.Errorf("%s, %s was not measured", section, name))
		}
		if section == "rollout" {
			return m.Millis / 1000
		}
		return m.Value
	}
	of := func(program string) float64 { return figure("cost", program, "ns") / 1000 }
	return fmt.Sprintf("\nA thousand servers are upgraded %.2g s after the rename, settle time and canary aside. The service then holds %.2g MiB,\n"+
		"and uses %.1g %% of a core when nothing happens. Its kernel programs take %.1f µs of an exec, %.1f µs of a fork and\n"+
		"%.1f µs of an exit; an empty program takes %.1f µs. While 2,000 programs a second start, the service with its programs\n"+
		"takes %.1g %% of the host's processor time. `forkstat`, which also sees every exec, takes %.2g %%, and bpftrace's\n"+
		"`execsnoop` %.2g %%.\n",
		figure("rollout", lastUpgraded, ""), figure("cost", resident, "MiB"), figure("cost", idleShare, "% of a core"),
		of("exec/50-bytes"), of("fork"), of("exit"), figure("cost", "exec/50-bytes", "ns, an empty program")/1000,
		figure("cost", stormCounted, ofTheHost),
		figure("cost", "storm, observed by forkstat: its processor time, without the kernel's work to report to it", ofTheHost),
		figure("cost", "storm, observed by execsnoop.bt: processor time of execsnoop.bt and of its programs", ofTheHost),
	), errors.Join(missing...)
}
