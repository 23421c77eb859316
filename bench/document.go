// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"fmt"
	"strconv"
	"strings"
)

// headings has the title and the introduction of each section of the document.
var headings = map[string][2]string{
	"find": {"Finding the outdated servers", "\"Original walk\" is the servers' own trigger as a Go program of ours, made lean. It lists /proc, and reads the stat of\n" +
		"every image, the command line of processes that run another file, and the environment of those that match. It makes\n" +
		"nothing but the system calls, one after the other. \"Verified\" is the whole plan: every candidate's identity,\n" +
		"arguments, environment, root, target, image and handler. Each method must have found all servers.\n\n" +
		"![against the number of processes](../bench/results/processes.svg)\n\n![against the number of servers](../bench/results/servers.svg)"},
	"rollout": {"From the rename to the last server", "Without canaries and without settle time. The times come from the service's own events. The servers are programs\n" +
		"of two pages that exec at the signal. Each must be idle for a moment before its signal, except with `--quiet 0`.\n\n![against the number of servers](../bench/results/rollout.svg)"},
	"start": {"Start", "`trigger` is a process of its own, with `--dry-run`."},
	"cost": {"What it costs the host", "Exec, fork, exit and signal: nanoseconds of each program by the kernel's accounts. The processes are no servers; the\n" +
		"name of a row says how many bytes of arguments they have. A round is a thousand events, half of them with the empty\n" +
		"program attached first.\n\n" +
		"The gate is not among them: the kernel of these machines refuses its program. In the emulated Debian 6.1 `go test -run\n" +
		"'^$' -bench BenchmarkGate -benchtime 3000x ./tracker` gave 325 ns a run for kill -0 (302 for an empty program) and 305\n" +
		"ns for SIGUSR1 between processes that are no servers (197). That is 1.1 to 1.5 times an empty program, once for each\n" +
		"signal. The nanoseconds are the emulation's. The kernel's own signals, SIGCHLD among them, do not pass the gate\n" +
		"(do_notify_parent in kernel/signal.c, Linux 6.12).\n\n" +
		"Idle: the service is sampled from outside every 50 ms for a minute. A moment begins when any of its threads runs after\n" +
		"none has run for 200 ms. The service audits the install every 30 s. It does not count these audits, so a moment counts\n" +
		"as one when it is within a second of an audit's time. That time follows from the start of the service.\n\n" +
		"Storm: 2,000 programs a second for 5 s, as in a compilation. A driver starts two programs one after the other, all with\n" +
		"50 to 2,000 bytes of arguments. In turns there is no observer, or one that sees every exec. Each observer is started for\n" +
		"its storm, comes to rest before, and is ended after. Its cost is measured in two ways:\n\n" +
		"- its processor time and the run time of its BPF programs in the storm, by the kernel's accounts;\n" +
		"- the processor time of the storm and the observer together, minus that of the unobserved storm of the same turn. This\n" +
		"  contains everything, also the noise.\n\n" +
		"forkstat has no BPF programs. The kernel's work in each exec to report to it is in the second figure only. Counting the\n" +
		"run times costs observers with BPF programs some more."},
	"scale": {"A host five times as large", "For 20 processes there is one server, for 333 an install and for 500 a user. A service learns all installs from the\n" +
		"servers, without canaries. All installs are replaced at once. The service is idle for a minute after that."},
}

func (r *results) document() string {
	var b strings.Builder
	b.WriteString("# Benchmarks\n\nWritten by `make bench`, as root. The figures are medians of as many rounds as the tables say. What is compared is\n" +
		"measured in turns. Compare ratios of different runs, not their figures. The same figures are in\n" +
		"[bench/results](../bench/results), as JSON and CSV.\n")
	b.WriteString(r.goals())
	for _, name := range order {
		s, measured := r.Sections[name]
		if !measured {
			continue
		}
		fmt.Fprintf(&b, "\n## %s\n\n%s, Linux %s, %s, `%s`. %s\n\n", headings[name][0], s.Machine, s.Kernel, s.Date, s.Command, headings[name][1])
		if s.WithoutTools {
			fmt.Fprintf(&b, "Measured without %s.\n\n", leftOut(name))
		}
		if name == "scale" {
			b.WriteString(r.scale())
			continue
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

// leftOut names the tools that a section was measured without.
func leftOut(section string) string {
	var names []string
	for _, n := range needed[section] {
		names = append(names, n.program)
	}
	if len(names) == 0 {
		return "tools, which it does not use"
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
