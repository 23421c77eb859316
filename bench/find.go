// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"cmp"
	"context"
	"fmt"
	"syscall"
	"time"

	"ebpf-upgrader/fallback"
	"ebpf-upgrader/internal/deliver"
	"ebpf-upgrader/internal/install"
	"ebpf-upgrader/internal/procfs"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/tracker"
)

// The names of the series, and the usual numbers.
const (
	theWalk       = "original walk"
	ourScan       = "our scan"
	ourTracker    = "our tracker"
	ourPlan       = "our tracker, verified"
	usualServers  = 200
	usualHost     = 20_000
	variable      = "RAG_RAT_UPGRADE_BIN"
	fewestServers = 10
)

// hostSizes lists the numbers of processes for the usual number of servers.
var hostSizes = []int{1000, 5000, usualHost, 50_000}

// find measures the time to find the outdated servers, against the number of processes and of servers.
func find(ctx context.Context, o options) ([]Measure, error) {
	type host struct{ n, k int }
	var hosts []host
	for _, n := range hostSizes {
		hosts = append(hosts, host{n, usualServers})
	}
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
	procfs, err := procfs.NewFS("/proc")
	if err != nil {
		return nil, err
	}
	defer func() { _ = procfs.Close() }()
	scanner := fallback.New(procfs, pattern)
	t, err := tracker.Open(ctx, tracker.Config{Pattern: pattern, Seed: scanner.Candidates, Signal: syscall.SIGUSR1})
	if err != nil {
		return nil, err
	}
	defer func() { _ = t.Close() }()
	walk, err := s.walk(k)
	if err != nil {
		return nil, err
	}
	all := append([]candidate{walk}, ours(ctx, s, k, scanner, t, procfs)...)
	if !o.withoutTools {
		if err := s.checkNeedrestart(ctx, k); err != nil {
			return nil, err
		}
		all = append(all, s.tools(ctx, k)...)
	}
	measures, err := sideBySide(ctx, o.rounds, all)
	for i := range measures {
		m := &measures[i]
		m.Processes, m.Servers = n, k
		fmt.Printf("find %6d %5d  %-28s %10.3f ms  %8.1f times\n", n, k, m.Name, m.Millis, m.Times)
	}
	return measures, err
}

// pattern matches the servers of the scenes.
var pattern = selector.Pattern{Names: []string{serverName}, Subcommand: "mcp"}

// walk is the candidate that the others are compared with.
func (s *scene) walk(k int) (candidate, error) {
	w, err := newWalker(s.install)
	return candidate{name: theWalk, do: func() error {
		found, err := w.walk()
		return cmp.Or(err, checkFound(found, k))
	}}, err
}

// checkFound is an error unless every server was found.
func checkFound(found, want int) error {
	if found != want {
		return fmt.Errorf("found %d of %d", found, want)
	}
	return nil
}

// ours lists the ways in which this program finds the servers.
func ours(ctx context.Context, s *scene, k int, scanner *fallback.Scanner, t *tracker.Tracker, procfs *procfs.FS) []candidate {
	u := deliver.New(deliver.Config{
		Rule:   selector.Rule{Pattern: pattern, Variable: variable, Signal: "SIGUSR1"},
		Signal: syscall.SIGUSR1, Inspector: inspector{procfs},
		// Without Pin: a plan opens no pidfd, and an attempt would panic.
	})
	return []candidate{
		{name: ourScan, do: func() error {
			pids, err := scanner.Candidates(ctx)
			return cmp.Or(err, checkFound(min(len(pids), k), k)) // unreadable processes are candidates, too
		}},
		{name: ourTracker, calls: 200, do: func() error {
			pids, err := t.Candidates(ctx)
			return cmp.Or(err, checkFound(min(len(pids), k), k))
		}},
		{name: ourPlan, do: func() error {
			pids, err := t.Candidates(ctx)
			if err != nil {
				return err
			}
			report := u.Survey(ctx, deliver.One{Install: install.NewChecker().Check(install.RootedPath{Path: s.install})}, pids)
			return checkFound(len(report.Plan), k)
		}},
	}
}

type inspector struct{ procfs *procfs.FS }

func (i inspector) Inspect(pid selector.PID, rule selector.Rule, _ time.Time) (selector.Process, error) {
	return i.procfs.Inspect(pid, procfs.Query{Pattern: rule.Pattern, Variable: rule.Variable, Signal: syscall.SIGUSR1})
}

func (i inspector) User(pid selector.PID) (selector.Identity, selector.User, error) {
	return i.procfs.User(pid)
}
