// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"fmt"
	"strconv"
	"strings"
)

// headings are those of the sections of the document.
var headings = map[string][2]string{
	"find": {"Finding the outdated servers", "\"Original walk\" is the servers' own trigger as a Go program of ours, made lean: list /proc, stat of every\n" +
		"image, the command line of those that run another file, the environment of those that match, with nothing but the\n" +
		"system calls, one after the other. \"Verified\" is the whole plan: every candidate's identity, arguments,\n" +
		"environment, root, target, image and handler. Everybody must have found the servers.\n\n" +
		"![against the number of processes](../bench/results/processes.svg)\n\n![against the number of servers](../bench/results/servers.svg)"},
	"rollout": {"From the rename to the last server", "Without canaries and without settle time, by the service's own events. The servers are programs of two pages\n" +
		"that exec at the signal.\n\n![against the number of servers](../bench/results/rollout.svg)"},
	"start": {"Start", "`trigger` is a process of its own, with `--dry-run`."},
	"cost": {"What it costs the host", "Exec, fork, exit and signal: nanoseconds of each program by the kernel's accounts, for processes that are no\n" +
		"servers, with arguments of so many bytes. A round is a thousand events, half of them with the empty program attached\n" +
		"first.\n\n" +
		"The gate is not among them: the kernel of these machines refuses its program. In the emulated Debian 6.1 `go test -run\n" +
		"'^$' -bench BenchmarkGate -benchtime 3000x ./tracker` gave 325 ns a run for kill -0 (302 for an empty program) and 305\n" +
		"ns for SIGUSR1 between processes that are no servers (197): 1.1 to 1.5 times an empty program, once for each signal. The\n" +
		"nanoseconds are the emulation's. The kernel's own signals, SIGCHLD among them, do not come by the gate\n" +
		"(do_notify_parent in kernel/signal.c, Linux 6.12).\n\n" +
		"Idle: the service is looked at every 50 ms from outside for a minute. A moment is when any of its threads ran after\n" +
		"none had for 200 ms. It looks at the install every 30 s without any reason; it does not count these audits, so a moment\n" +
		"counts as one within a second of their time, which follows from its start.\n\n" +
		"Storm: 2,000 programs a second for 5 s, as by a compiler: a driver starts two programs one after the other, all with 50\n" +
		"to 2,000 bytes of arguments. In turns nobody looks on, or one of those who see every exec does; each is started for its\n" +
		"storm, comes to rest before, and is ended after. What it uses is told in two ways: its processor time and the run time\n" +
		"of its BPF programs in the storm, by the kernel's accounts; and how much more processor time the storm and the onlooker\n" +
		"took together than the storm of the same turn that nobody saw, which has everything in it, and the noise. forkstat has\n" +
		"no BPF programs; what the kernel does in each exec to tell it is in the second figure only. Counting the run times costs\n" +
		"those with BPF programs some more."},
}

func (r *results) document() string {
	var b strings.Builder
	b.WriteString("# Benchmarks\n\nWritten by `make bench`, as root. Medians of as many rounds as the tables say; what is compared is measured in\n" +
		"turns. Figures of different runs should not be compared, ratios can be. The same as JSON and CSV in\n" +
		"[bench/results](../bench/results).\n")
	b.WriteString(r.asked())
	for _, name := range order {
		s, measured := r.Sections[name]
		if !measured {
			continue
		}
		fmt.Fprintf(&b, "\n## %s\n\n%s, Linux %s, %s, `%s`. %s\n\n", headings[name][0], s.Machine, s.Kernel, s.Date, s.Command, headings[name][1])
		if s.WithoutTools {
			fmt.Fprintf(&b, "Measured without %s.\n\n", leftOut(name))
		}
		if name == "cost" {
			b.WriteString("| | | | half of them | rounds |\n|---|---|---|---|---|\n")
		} else {
			b.WriteString("| | processes | servers | ms | half of them | rounds | times as fast as the walk |\n|---|---|---|---|---|---|---|\n")
		}
		for _, m := range s.Measures {
			b.WriteString(m.row(name))
		}
	}
	return b.String()
}

// leftOut names the tools of a section.
func leftOut(section string) string {
	var names []string
	for _, n := range needed[section] {
		names = append(names, n.program)
	}
	if len(names) == 0 {
		return "tools, of which it has none"
	}
	return strings.Join(names, ", ")
}

func (m Measure) row(section string) string {
	half := "–"
	if m.Low != m.High {
		half = fmt.Sprintf("%.4g to %.4g", m.Low, m.High)
	}
	if section == "cost" {
		return fmt.Sprintf("| %s | %.4g | %s | %s | %d |\n", m.Name, m.Value, m.Unit, half, m.Rounds)
	}
	times := "–"
	if m.Times > 0 {
		times = fmt.Sprintf("%.4g", m.Times)
	}
	processes := "–"
	if m.Processes > 0 {
		processes = strconv.Itoa(m.Processes)
	}
	return fmt.Sprintf("| %s | %s | %d | %.4g | %s | %d | %s |\n", m.Name, processes, m.Servers, m.Millis, half, m.Rounds, times)
}
