// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"syscall"

	"ebpf-upgrader/fallback"
	"ebpf-upgrader/internal/procfs"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/tracker"
)

// loading is the name of the time that the tracker takes besides the scan that seeds it.
const loading = "load and attach alone"

// starts measures the time until the first answer on a host with many processes.
func starts(ctx context.Context, o options) ([]Measure, error) {
	n := min(usualHost, o.most)
	s, err := newScene(n, usualServers)
	if err != nil {
		return nil, err
	}
	defer s.close()
	procfs, err := procfs.NewFS("/proc")
	if err != nil {
		return nil, err
	}
	defer func() { _ = procfs.Close() }()
	walk, err := s.walk(usualServers)
	if err != nil {
		return nil, err
	}
	noSeed := func(context.Context) ([]selector.PID, error) { return nil, nil }
	measures, err := sideBySide(ctx, o.rounds, []candidate{
		walk,
		opening(ctx, loading, noSeed, 0),
		opening(ctx, "load, attach, seed, first answer", fallback.New(procfs, pattern).Candidates, usualServers),
		{name: "trigger --source bpf", do: func() error { return s.trigger(ctx, "bpf") }},
		{name: "trigger --source proc", do: func() error { return s.trigger(ctx, "proc") }},
	})
	for i := range measures {
		m := &measures[i]
		m.Processes, m.Servers = n, usualServers
		fmt.Printf("start %6d  %-34s %10.3f ms  %6.1f times\n", n, m.Name, m.Millis, m.Times)
	}
	return measures, err
}

// opening opens a tracker and reads its candidates once. Closing it is not timed.
func opening(ctx context.Context, name string, seed func(context.Context) ([]selector.PID, error), want int) candidate {
	var t *tracker.Tracker
	return candidate{
		name: name,
		do: func() (err error) {
			t, err = tracker.Open(ctx, tracker.Config{Pattern: pattern, Seed: seed, Signal: syscall.SIGUSR1})
			if err != nil {
				return err
			}
			pids, err := t.Candidates(ctx)
			return cmp.Or(err, checkFound(min(len(pids), want), want))
		},
		after: func() error { return t.Close() },
	}
}

// trigger sends no signal, so that the next round finds as many servers.
func (s *scene) trigger(ctx context.Context, source string) error {
	out, err := output(ctx, program, "trigger", "--install-path", s.install, "--source", source, "--settle", "0s", "--dry-run")
	if err == nil && !bytes.Contains(out, fmt.Appendf(nil, "\n%d signals planned", usualServers)) {
		err = fmt.Errorf("did not plan %d signals", usualServers)
	}
	return err
}
