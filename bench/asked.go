// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"fmt"
	"slices"
	"strings"
)

// goal is a limit that the project sets itself.
type goal struct {
	what string
	// most: the figure must not be higher than want; else it must not be lower.
	most bool
	want float64
	unit string
	got  func(*results) (figure, bool)
	// short explains a missed goal.
	short func(*results) string
}

// figure is what was measured. Where the noise is judged too, the middle half of the rounds is between low and high.
type figure struct{ value, low, high float64 }

func exactly(x float64) figure { return figure{x, x, x} }

var goals = []goal{
	{"the scan, against the original walk, 20,000 processes and 200 servers", false, 2, "times as fast", found(ourScan), nil},
	{"the tracker's candidates, the same", false, 1000, "times as fast", found(ourTracker), nil},
	{"the verified plan, the same", false, 20, "times as fast", found(ourPlan), shortPlan},
	{"the tracker's candidates, the slowest of 1,000, 5,000, 20,000 and 50,000 processes against the fastest", true, 1.2, "times the time", flat, shortFlat},
	{"`trigger` with the scan, against the walk", false, 3, "times as fast", start("trigger --source proc"), shortScan},
	{"`trigger` with the tracker", false, 3, "times as fast", start("trigger --source bpf"), shortTrigger},
	{"an exec with 5 bytes of arguments", true, 2.5, "times an empty program", perExec("exec/5-bytes"), shortExec},
	{"an exec with 50 bytes", true, 2.5, "times an empty program", perExec("exec/50-bytes"), shortExec},
	{"an exec with 2,000 bytes", true, 2.5, "times an empty program", perExec("exec/2000-bytes"), shortExec},
	{"programs started in the storm that the service observes, of 2,000", false, 0.99 * stormRate, "a second", cost(stormSeen, aSecond), nil},
	{"the service and its programs in the storm, by the kernel's accounts", true, 0.5, ofTheHost, cost(stormCounted, ofTheHost), nil},
	{"the same, by the difference of storms with the service and without, in turns", true, 0.5, ofTheHost, between(stormDifference, ofTheHost), nil},
	{"resident with 1,000 servers", true, 24, "MiB", cost(resident, "MiB"), shortMemory},
	{"wake-ups of the idle service without its audits", true, 0, "in a minute", cost(idleMoments, perMinute), shortWakeUps},
}

// found gets the speed of one way to find 200 servers among 20,000 processes.
func found(name string) func(*results) (figure, bool) {
	return func(r *results) (figure, bool) {
		m, measured := r.find("find", func(m Measure) bool {
			return m.Name == name && m.Processes == usualHost && m.Servers == usualServers
		})
		return exactly(m.Times), measured
	}
}

func start(name string) func(*results) (figure, bool) {
	return func(r *results) (figure, bool) {
		m, measured := r.find("start", func(m Measure) bool { return m.Name == name && m.Processes == usualHost })
		return exactly(m.Times), measured
	}
}

func cost(name, unit string) func(*results) (figure, bool) {
	return func(r *results) (figure, bool) {
		f, measured := between(name, unit)(r)
		return exactly(f.value), measured
	}
}

// between is cost with the bounds of the middle half.
func between(name, unit string) func(*results) (figure, bool) {
	return func(r *results) (figure, bool) {
		m, measured := r.find("cost", func(m Measure) bool { return m.Name == name && m.Unit == unit })
		return figure{m.Value, m.Low, m.High}, measured
	}
}

func perExec(name string) func(*results) (figure, bool) { return cost(name, "times an empty program") }

// flat compares the times among all numbers of processes, the longest with the shortest.
func flat(r *results) (figure, bool) {
	times := r.ofTracker()
	if len(times) < len(hostSizes) {
		return figure{}, false
	}
	return exactly(slices.Max(times) / slices.Min(times)), true
}

// ofTracker returns the times of the tracker's candidates in ms, one for each measured number of processes.
func (r *results) ofTracker() (times []float64) {
	for _, n := range hostSizes {
		m, measured := r.find("find", func(m Measure) bool {
			return m.Name == ourTracker && m.Processes == n && m.Servers == usualServers
		})
		if measured {
			times = append(times, m.Millis)
		}
	}
	return times
}

// asked returns a table of the goals and the figures, and below it the reasons for missed goals.
func (r *results) asked() string {
	var table, why strings.Builder
	table.WriteString("\n## Goals\n\n| | goal | measured | |\n|---|---|---|---|\n")
	said := map[string]bool{}
	for _, g := range goals {
		bound := "at least"
		if g.most {
			bound = "at most"
		}
		got, measured := g.got(r)
		verdict := g.verdict(got, measured)
		fmt.Fprintf(&table, "| %s | %s %.4g %s | %s | %s |\n", g.what, bound, g.want, g.unit, got.words(measured), verdict)
		if verdict != missed || g.short == nil {
			continue
		}
		if short := g.short(r); !said[short] {
			said[short] = true
			fmt.Fprintf(&why, "\nMissed: %s. %s\n", g.what, short)
		}
	}
	return table.String() + why.String()
}

func (f figure) words(measured bool) string {
	switch {
	case !measured:
		return "–"
	case f.low == f.high:
		return fmt.Sprintf("%.4g", f.value)
	}
	return fmt.Sprintf("%.4g, half of the turns %.4g to %.4g", f.value, f.low, f.high)
}

const missed = "**missed**"

// verdict is open where the goal lies within the noise.
func (g goal) verdict(f figure, measured bool) string {
	met := func(x float64) bool { return g.most && x <= g.want || !g.most && x >= g.want }
	switch {
	case !measured:
		return "not measured"
	case met(f.low) != met(f.high):
		return "within the noise"
	case met(f.value):
		return "met"
	}
	return missed
}
