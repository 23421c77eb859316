// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"fmt"
	"slices"
	"strings"
)

// goal is a bound that the project sets for a figure.
type goal struct {
	what string
	// most: want is an upper bound. Otherwise it is a lower one.
	most bool
	want float64
	unit string
	got  func(*results) (figure, bool)
	// short explains why the goal is missed.
	short func(*results) string
}

// figure is a measured value. low and high differ where the noise decides with it.
type figure struct{ value, low, high float64 }

func exactly(x float64) figure { return figure{x, x, x} }

var allGoals = []goal{
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
	{"the same, by the difference of storms with the service and without, in turns", true, 0.5, ofTheHost, between(stormDifference, ofTheHost), shortStorm},
	{"resident with 1,000 servers", true, 24, "MiB", cost(resident, "MiB"), shortMemory},
	{"wake-ups of the idle service without its audits", true, 0, "in a minute", cost(idleMoments, perMinute), shortWakeUps},
}

// found returns a figure of finding 200 servers among 20,000 processes.
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

// between is cost with the bounds of the middle half of the figures.
func between(name, unit string) func(*results) (figure, bool) {
	return func(r *results) (figure, bool) {
		m, measured := r.find("cost", func(m Measure) bool { return m.Name == name && m.Unit == unit })
		return figure{m.Value, m.Low, m.High}, measured
	}
}

func perExec(name string) func(*results) (figure, bool) { return cost(name, "times an empty program") }

// flat compares the longest with the shortest time among all numbers of processes.
func flat(r *results) (figure, bool) {
	times := r.trackerTimes()
	if len(times) < len(hostSizes) {
		return figure{}, false
	}
	return exactly(slices.Max(times) / slices.Min(times)), true
}

// trackerTimes returns the times of the tracker's candidates in ms, by the number of processes.
func (r *results) trackerTimes() (times []float64) {
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

// goals formats a table of the goals with the measured figures, and explains each missed goal below it.
func (r *results) goals() string {
	var table, why strings.Builder
	table.WriteString("\n## Goals\n\n| | goal | measured | |\n|---|---|---|---|\n")
	explained := map[string]bool{}
	for _, g := range allGoals {
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
		if short := g.short(r); !explained[short] {
			explained[short] = true
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

// verdict compares a figure with the goal. It is open if the bound lies within the noise.
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
