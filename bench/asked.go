// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"fmt"
	"runtime"
	"strings"
)

// goal is a figure that the project asks of itself.
type goal struct {
	what string
	// most is that the figure must not be higher than want; else it must not be lower.
	most  bool
	want  float64
	unit  string
	got   func(*results) (float64, bool)
	short string // why it is missed, where it is
}

var goals = []goal{
	{"the scan, against the original walk, 20,000 processes and 200 servers", false, 2, "times as fast", found(ourScan), ""},
	{"the tracker's candidates, the same", false, 1000, "times as fast", found(ourTracker), ""},
	{"the verified plan, the same", false, 20, "times as fast", found(ourPlan), ""},
	{"the tracker's candidates with most processes, against those with fewest", true, 1.2, "times the time", flat, ""},
	{"`trigger` with the scan, against the walk", false, 3, "times as fast", start("trigger --source proc"), shortScan},
	{"`trigger` with the tracker", false, 3, "times as fast", start("trigger --source bpf"), shortTrigger},
	{"an exec with 5 bytes of arguments", true, 2.5, "times an empty program", perExec("exec/5-bytes"), ""},
	{"an exec with 50 bytes", true, 2.5, "times an empty program", perExec("exec/50-bytes"), shortExec},
	{"an exec with 2,000 bytes", true, 2.5, "times an empty program", perExec("exec/2000-bytes"), shortExec},
	{"the service and its programs in the storm", true, 0.5, "% of the host's CPU", inTheStorm, ""},
	{"resident with 1,000 servers", true, 24, "MiB", cost("service with 1,000 servers, resident", "MiB"), shortMemory},
	{"wake-ups of the idle service", true, 0, "in a minute", cost(wakeUps, "in a minute"), shortWakeUps},
}

// wakeUps is the name of a measure.
const wakeUps = "service with 1,000 servers, idle: wake-ups of its threads"

// Why what is asked is missed, and what was tried.
const (
	shortScan = "A process of its own has 20,000 command lines to read, each an open, a read and a close, some 10 µs together. The " +
		"scan reads on all cores while the kernel still lists."
	shortTrigger = "It scans, on all cores, while the programs are loaded; loading takes 40 ms of a core (the kernel's types are " +
		"read for the relocations, the verifier, the maps) beside the 240 ms of the scan. Without the programs it would be as fast " +
		"as the scan, but blind to the signals of the servers' own trigger, which are sent at the same moment. An iterator " +
		"over the tasks could read the arguments in the kernel, but bpf_copy_from_user_task waits for memory that is mapped from " +
		"a file system which never answers (access_process_vm without FOLL_ANON: kernel/bpf/helpers.c and mm/memory.c, Linux " +
		"6.12), and looking at the mapping first leaves a moment for another to take its place: any user could hold up root's " +
		"`trigger` for ever. /proc does not wait. It was not built."
	shortExec = "Reading the arguments is the cost: the first touch of memory in an address space that has just come into being, " +
		"some 250 to 600 ns here. Tried without gain: a read of fixed length onto the stack and a hash of the last component. " +
		"An exec with fewer bytes than a server's name and argument have is not read."
	shortMemory  = "Half of it is the program's own text, which the kernel can drop."
	shortWakeUps = "These are audits, two a minute of the install: what the kernel does not tell of is found by them (a file on a " +
		"network file system, a mount on top of it). Each wakes several threads of the Go runtime, which wait for each other " +
		"by the way; every wait is counted."
)

// found is a figure of finding 200 servers among 20,000 processes.
func found(name string) func(*results) (float64, bool) {
	return func(r *results) (float64, bool) {
		for _, m := range r.Sections["find"].Measures {
			if m.Name == name && m.Processes == usualHost && m.Servers == usualServers {
				return m.Times, true
			}
		}
		return 0, false
	}
}

func start(name string) func(*results) (float64, bool) {
	return func(r *results) (float64, bool) {
		for _, m := range r.Sections["start"].Measures {
			if m.Name == name {
				return m.Times, true
			}
		}
		return 0, false
	}
}

func cost(name, unit string) func(*results) (float64, bool) {
	return func(r *results) (float64, bool) {
		for _, m := range r.Sections["cost"].Measures {
			if m.Name == name && m.Unit == unit {
				return m.Value, true
			}
		}
		return 0, false
	}
}

func perExec(name string) func(*results) (float64, bool) { return cost(name, "times an empty program") }

// flat compares the time among the most processes with that among the fewest.
func flat(r *results) (float64, bool) {
	var fewest, most Measure
	for _, m := range r.Sections["find"].Measures {
		if m.Name != ourTracker || m.Servers != usualServers {
			continue
		}
		if fewest.Processes == 0 || m.Processes < fewest.Processes {
			fewest = m
		}
		if m.Processes > most.Processes {
			most = m
		}
	}
	return most.Millis / fewest.Millis, fewest.Processes < most.Processes
}

// inTheStorm adds to what the service used what its program on exec did, which the processes that exec pay.
func inTheStorm(r *results) (float64, bool) {
	service, measured := cost("service in the storm", "% of a core")(r)
	rate, _ := cost("storm", "programs started a second")(r)
	var nanos float64
	for _, name := range []string{"exec/50-bytes", "fork", "exit"} {
		one, _ := cost(name, "ns")(r)
		nanos += one
	}
	return (service + 100*rate*nanos/1e9) / float64(runtime.NumCPU()), measured
}

// asked is a table of what is asked and what was measured, and below it why what is missed is.
func (r *results) asked() string {
	var table, why strings.Builder
	table.WriteString("\n## What is asked\n\n| | asked | measured | |\n|---|---|---|---|\n")
	said := map[string]bool{}
	for _, g := range goals {
		got, measured := g.got(r)
		if !measured {
			continue
		}
		bound, verdict := "at least", "met"
		if g.most {
			bound = "at most"
		}
		if g.most && got > g.want || !g.most && got < g.want {
			verdict = "**missed**"
			if g.short != "" && !said[g.short] {
				said[g.short] = true
				fmt.Fprintf(&why, "\nMissed: %s. %s\n", g.what, g.short)
			}
		}
		fmt.Fprintf(&table, "| %s | %s %.4g %s | %.4g | %s |\n", g.what, bound, g.want, g.unit, got, verdict)
	}
	return table.String() + why.String()
}
