// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/test/report"
)

// result is the result of one arena.
type result struct {
	FewPIDs bool
	// Limited: the kernel can limit the PIDs of a namespace.
	Limited bool
	// For is the duration of the storms.
	For time.Duration
	// Violations are the broken rules, one sentence each.
	Violations []string
	// Servers counts all servers. Upgrades counts the execs that they survived.
	Servers, Upgrades int
	// Signals counts the SIGUSR1 of the service, Counted those that the servers counted.
	Signals, SignalsOfOthers, Counted int
	// Deaths counts deaths by a signal or an exec. DeathsByOthers counts those that a signal of another sender
	// caused, Judged those that a signal of the service caused.
	Deaths, DeathsByOthers, Judged int
	// The judged ones: Canaries died of a bad binary, Overtaken of one that was installed after the signal, Unseen of
	// one that was installed right before it, Races of a signal right after another sender's.
	Canaries, Overtaken, Unseen, Races int
	// Instances counts the starts of the service.
	Instances int
	Losses    losses
	// PIDReuse is the largest number of processes that had the same PID.
	PIDReuse int
	// Churned counts processes of the churn, ChurnFailed those that could not be started.
	Churned, ChurnFailed int
	Jumps                int
	// Hostile counts how often the hostile user appeared.
	Hostile int
	// Huge counts its servers with huge arguments or environments, Silent the look-ups that waited for its file systems, NoPIDs
	// how often it had no PIDs left.
	Huge, Silent, NoPIDs int
	// Host: the settings of the host were changed. NoInstances counts how often root had no inotify instance left.
	Host        bool
	NoInstances int
	// Tasks is what the service has used of its limit of tasks.
	Tasks string
	// SlowLogs counts how often the log was not read, Mounts the mounts over the folder of an install.
	SlowLogs, Mounts int
	Installs         map[string]int
	Quiets           []quiet
	// Before and After are what the service held after the first and the second quiet phase.
	Before, After holdings
}

func (r result) broken() bool { return len(r.Violations) > 0 }

// rows returns the figures with their names.
func (r result) rows() [][2]string {
	rows := [][2]string{
		{"servers", fmt.Sprint(r.Servers)},
		{"upgrades", fmt.Sprint(r.Upgrades)},
		{"starts of the service", fmt.Sprint(r.Instances)},
		{"signals of the service", fmt.Sprint(r.Signals)},
		{"signals of other senders", fmt.Sprint(r.SignalsOfOthers)},
		{"signals that servers counted", fmt.Sprint(r.Counted)},
		{"other processes a second", fmt.Sprintf("%.0f", float64(r.Churned)/r.For.Seconds())},
		{"of them, failed to start", fmt.Sprint(r.ChurnFailed)},
		{"most processes with the same PID", fmt.Sprint(r.PIDReuse)},
		{"clock jumps", r.ofHost(r.Jumps)},
		{"appearances of a hostile user", fmt.Sprint(r.Hostile)},
		{"of its servers, with 1 MiB of arguments or environment", happened(r.Huge, r.For)},
		{"look-ups that waited for its silent file systems", happened(r.Silent, r.For)},
		{"times that it had no PIDs left", happened(r.NoPIDs, r.For)},
		{"times that root had no inotify instance left", r.ofHost(r.NoInstances)},
		{"inotify watches that were refused", r.ofHost(r.Losses.Watches)},
		{"times that the log was not read", happened(r.SlowLogs, r.For)},
		{"log lines of a user beyond the 600 a minute", happened(r.Losses.LogLines, 4*r.For)},
		{"mounts over an install's folder", happened(r.Mounts, r.For)},
	}
	for _, k := range kinds {
		rows = append(rows, [2]string{"installs: " + k.name, fmt.Sprint(r.Installs[k.name])})
	}
	rows = append(rows, r.Losses.rows(r.For)...)
	return append(rows, [][2]string{
		{"deaths by a signal or an exec", fmt.Sprint(r.Deaths)},
		{"of another sender's signal", fmt.Sprint(r.DeathsByOthers)},
		{"of the service's signal, judged", fmt.Sprint(r.Judged)},
		{"judged: canaries of a bad binary", fmt.Sprint(r.Canaries)},
		{"judged: a bad binary came after the signal", fmt.Sprint(r.Overtaken)},
		{"judged: a bad binary came less than 50 ms before the signal", fmt.Sprint(r.Unseen)},
		{"judged: within 20 ms of another sender's signal", fmt.Sprint(r.Races)},
		{"first quiet", r.quiet(0)},
		{"second quiet", r.quiet(1)},
		{"descriptors, watches, goroutines, map entries", r.Before.String()},
		{"the same after the second storm", r.After.String()},
		{"most tasks of the service", r.Tasks},
		{"broken rules", fmt.Sprint(len(r.Violations))},
	}...)
}

func (r result) quiet(n int) string {
	if n >= len(r.Quiets) {
		return "not reached"
	}
	return r.Quiets[n].String()
}

// longEnough is a duration of storms in which each kind of loss should happen: that of one arena in a run of 30 s.
const longEnough = 15 * time.Second

// happened marks a fault that was meant to happen and did not.
func happened(times int, storms time.Duration) string {
	if times == 0 && storms >= longEnough {
		return "0: this fault did not happen in this run"
	}
	return fmt.Sprint(times)
}

// ofHost is happened, for a fault that needs a change of the host.
func (r result) ofHost(times int) string {
	if !r.Host {
		return fmt.Sprintf("%d: the host was left alone", times)
	}
	return happened(times, r.For)
}

// rows marks faults that were meant to happen and did not.
func (l losses) rows(storms time.Duration) (rows [][2]string) {
	for _, of := range []struct {
		name  string
		times int
	}{
		{"losses: processes that did not fit into the map", l.MapFull},
		{"losses: events that did not fit into the ring", l.RingFull},
		{"losses: overflows of the inotify queue", l.Overflows},
	} {
		rows = append(rows, [2]string{of.name, happened(of.times, storms)})
	}
	return append(rows, [2]string{"losses: instances of the service without an answer", fmt.Sprint(l.Unknown)})
}

func (r result) name() string {
	switch {
	case r.FewPIDs && r.Limited:
		return "a PID namespace with few PIDs"
	case r.FewPIDs:
		return "a PID namespace without a limit of its PIDs (before Linux 6.14)"
	}
	return "the host's PID namespace"
}

func (r result) print(w io.Writer) {
	fmt.Fprintf(w, "\nIn %s:\n", r.name())
	for _, row := range r.rows() {
		fmt.Fprintf(w, "  %-60s %s\n", row[0], row[1])
	}
	for _, v := range r.Violations {
		fmt.Fprintln(w, "  BROKEN:", v)
	}
}

// document writes the figures into the document, unless it has those of a longer run.
func document(path string, c config, results []result) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	_, old, _, err := section.Cut(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	length, _, _ := strings.Cut(old, closing)
	before, err := time.ParseDuration(length)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if c.For < before {
		fmt.Printf("\n%s has a longer run, of %s.\n", path, before)
		return nil
	}
	var figures bytes.Buffer
	fmt.Fprintf(&figures, "%s%s\n%s, Linux %s, %d cores, %d servers, %d processes a second, storms of %s in all:\n\n    %s\n\n",
		c.For, closing, report.Today(), kernel(), runtime.NumCPU(), c.Servers, c.Churn, c.For,
		fmt.Sprintf("make chaos FOR=%s SEED=%d", c.For, c.Seed))
	fmt.Fprintf(&figures, "| | %s | %s |\n|---|---|---|\n", results[0].name(), results[1].name())
	for n, row := range results[0].rows() {
		fmt.Fprintf(&figures, "| %s | %s | %s |\n", row[0], row[1], results[1].rows()[n][1])
	}
	return section.Write(path, figures.String()+"\n")
}

// section is the part of the document with the figures. It begins with the duration of the storms and closing.
var section = report.Section{Begin: "<!-- the longest run: ", End: "<!-- its end -->"}

const closing = " -->\n"

func kernel() string {
	var name unix.Utsname
	_ = unix.Uname(&name)
	release, _, _ := strings.Cut(unix.ByteSliceToString(name.Release[:]), "-")
	return release
}
