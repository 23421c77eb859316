// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"syscall"

	"ebpf-upgrader/fallback"
	"ebpf-upgrader/internal/testfleet"
	"ebpf-upgrader/proc"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/tracker"
)

// starts measures how long it takes until there is a first answer, on a host with many processes.
func starts(ctx context.Context, o options) ([]Measure, error) {
	n := min(usualHost, o.most)
	s, err := newScene(n, usualServers)
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
	trigger := func(source string) func() error {
		return func() error {
			// Nobody is signalled, so that there are as many the next time.
			err := exec.CommandContext(ctx, "../bin/ebpf-upgrader", "trigger", "--install-path", s.install, "--source", source,
				"--settle", "0s", "--dry-run").Run()
			if exit, ended := errors.AsType[*exec.ExitError](err); ended && exit.ExitCode() == 4 {
				return nil // servers are still outdated
			}
			return err
		}
	}
	all := []candidate{
		{name: theWalk, do: func() error { originalWalk(s.install); return nil }},
		{name: "load, attach, seed, first answer", do: func() error {
			t, err := tracker.Open(ctx, tracker.Config{Pattern: pattern, Seed: scanner.Candidates, Signal: syscall.SIGUSR1})
			if err != nil {
				return err
			}
			_, err = t.Candidates(ctx)
			return cmpErr(err, t.Close())
		}},
		{name: "trigger --source bpf", do: trigger("bpf")},
		{name: "trigger --source proc", do: trigger("proc")},
	}
	times, err := sideBySide(ctx, o.rounds, all)
	if err != nil {
		return nil, err
	}
	var measures []Measure
	for _, c := range all {
		m := Measure{
			Name: c.name, Processes: n, Servers: usualServers, Rounds: len(times[c.name]), Millis: median(times[c.name]),
			Times: median(times[theWalk]) / median(times[c.name]),
		}
		fmt.Printf("start %6d  %-34s %10.3f ms  %6.1f times\n", n, m.Name, m.Millis, m.Times)
		measures = append(measures, m)
	}
	return measures, nil
}
