// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"ebpf-upgrader/fallback"
	"ebpf-upgrader/install"
	"ebpf-upgrader/internal/testfleet"
	"ebpf-upgrader/pidfd"
	"ebpf-upgrader/proc"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/tracker"
	"ebpf-upgrader/upgrade"
)

// The names of the series.
const (
	theWalk       = "original walk"
	ourScan       = "our scan"
	ourTracker    = "our tracker"
	ourPlan       = "our tracker, verified"
	usualServers  = 200
	usualHost     = 20_000
	variable      = "RAG_RAT_UPGRADE_BIN"
	smallestHost  = 1000
	fewestServers = 10
)

// find measures who finds the outdated servers, against the number of processes and of servers.
func find(ctx context.Context, o options) ([]Measure, error) {
	type host struct{ n, k int }
	hosts := []host{{smallestHost, usualServers}, {5000, usualServers}, {usualHost, usualServers}, {50_000, usualServers}}
	for _, k := range []int{fewestServers, 100, 1000, 5000} {
		hosts = append(hosts, host{usualHost, k})
	}
	var all []Measure
	for _, h := range hosts {
		if h.n > o.most {
			continue
		}
		measures, err := findOn(ctx, o, h.n, h.k)
		if err != nil {
			return nil, fmt.Errorf("%d processes, %d servers: %w", h.n, h.k, err)
		}
		all = append(all, measures...)
	}
	return all, nil
}

func findOn(ctx context.Context, o options, n, k int) ([]Measure, error) {
	s, err := newScene(n, k)
	if err != nil {
		return nil, err
	}
	defer s.close()
	procfs, err := proc.NewFS("/proc")
	if err != nil {
		return nil, err
	}
	defer func() { _ = procfs.Close() }()
	pattern := selector.Pattern{Names: []string{testfleet.Name}, Subcommand: "mcp"}
	scanner := fallback.New(procfs, pattern)
	t, err := tracker.Open(ctx, tracker.Config{Pattern: pattern, Seed: scanner.Candidates, Signal: syscall.SIGUSR1})
	if err != nil {
		return nil, err
	}
	defer func() { _ = t.Close() }()
	u := upgrade.New(upgrade.Config{
		Rule:   selector.Rule{Pattern: pattern, Variable: variable, Signal: "SIGUSR1"},
		Signal: syscall.SIGUSR1, Source: upgrade.SourceBPF, Inspector: inspector{procfs}, Pin: pin,
	})
	want := func(found, want int) error {
		if found != want {
			return fmt.Errorf("found %d of %d", found, want)
		}
		return nil
	}
	all := []candidate{
		{name: theWalk, do: func() error { return want(originalWalk(s.install), k) }},
		{name: ourScan, do: func() error {
			pids, err := scanner.Candidates(ctx)
			return cmpErr(err, want(len(pids), k))
		}},
		{name: ourTracker, do: func() error {
			pids, err := t.Candidates(ctx)
			return cmpErr(err, want(len(pids), k))
		}},
		{name: ourPlan, do: func() error {
			pids, err := t.Candidates(ctx)
			if err != nil {
				return err
			}
			report := u.Survey(ctx, upgrade.One{Install: install.Check(install.Way{Path: s.install})}, pids)
			return want(len(report.Plan), k)
		}},
	}
	all = append(all, tool(ctx, false, "pgrep", "-f", testfleet.Name+" .*mcp")...)
	if k == usualServers && n <= usualHost { // beyond, they take minutes
		all = append(all, tool(ctx, true, "lsof", "-w", "+L1")...)
		all = append(all, tool(ctx, true, "needrestart", "-b", "-l")...)
	}
	times, err := sideBySide(ctx, o.rounds, all)
	if err != nil {
		return nil, err
	}
	var measures []Measure
	for _, c := range all {
		measures = append(measures, Measure{
			Name: c.name, Processes: n, Servers: k, Rounds: len(times[c.name]),
			Millis: median(times[c.name]), Times: median(times[theWalk]) / median(times[c.name]),
		})
		fmt.Printf("find %6d %5d  %-28s %10.3f ms  %8.1f times\n", n, k, c.name, measures[len(measures)-1].Millis, measures[len(measures)-1].Times)
	}
	return measures, nil
}

func cmpErr(errs ...error) error {
	i := slices.IndexFunc(errs, func(err error) bool { return err != nil })
	if i < 0 {
		return nil
	}
	return errs[i]
}

type inspector struct{ procfs *proc.FS }

func (i inspector) Inspect(pid selector.PID, rule selector.Rule) (selector.Process, error) {
	return i.procfs.Inspect(pid, proc.Query{Pattern: rule.Pattern, Variable: rule.Variable, Signal: syscall.SIGUSR1})
}

func (i inspector) User(pid selector.PID) (selector.Identity, uint32, error) {
	return i.procfs.User(pid)
}

// pin is not needed by a plan.
func pin(pid selector.PID) (upgrade.Target, error) {
	_, err := pidfd.Open(pid)
	return nil, err
}

// originalWalk is the servers' own trigger as a plain program: stat the image of every process, then read
// the command line, then the environment of those that match.
func originalWalk(path string) (found int) {
	var installed syscall.Stat_t
	if syscall.Stat(path, &installed) != nil {
		return 0
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0
	}
	name := []byte(filepath.Base(path))
	for _, e := range entries {
		dir := filepath.Join("/proc", e.Name())
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		var image syscall.Stat_t
		if syscall.Stat(filepath.Join(dir, "exe"), &image) != nil || image.Dev == installed.Dev && image.Ino == installed.Ino {
			continue
		}
		cmdline, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil {
			continue
		}
		args := bytes.Split(cmdline, []byte{0})
		base := args[0][bytes.LastIndexByte(args[0], '/')+1:]
		if !bytes.Equal(base, name) || !slices.ContainsFunc(args[1:], func(a []byte) bool { return string(a) == "mcp" }) {
			continue
		}
		environ, err := os.ReadFile(filepath.Join(dir, "environ"))
		if err == nil && bytes.Contains(environ, []byte(variable+"=")) {
			found++
		}
	}
	return found
}
