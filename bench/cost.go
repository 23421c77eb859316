// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/poll"
)

// costServers is the number of servers of the observed service.
const costServers = 1000

// costs measures the cost of the service for the host.
func costs(ctx context.Context, o options) ([]Measure, error) {
	all, err := perEvent(ctx, o)
	if err != nil {
		return nil, err
	}
	s, err := newScene(1, costServers)
	if err != nil {
		return nil, err
	}
	defer s.close()
	for _, measure := range []func(context.Context, options) ([]Measure, error){idle, storms} {
		more, err := measure(ctx, o)
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
	}
	for _, m := range all {
		fmt.Printf("cost %-70s %10.4f (%.4f to %.4f) %s\n", m.Name, m.Value, m.Low, m.High, m.Unit)
	}
	return all, nil
}

// untilRest is the time after which the service has done what it does once: the resync that follows its start after
// selector.ForkAge, and returning memory 10 s after that.
const untilRest = selector.ForkAge + 13*time.Second

// serveAtRest starts the service and waits until all servers are up to date and it is idle.
func serveAtRest(ctx context.Context) (*daemon, error) {
	d, err := serve(ctx, "--source", "bpf", "--hold", "1ms")
	if err != nil {
		return nil, err
	}
	err = d.until(ctx, "found all servers up to date", func(s api.Status) bool { return s.Verdicts[selector.UpToDate] >= costServers })
	if err == nil {
		err = poll.Sleep(ctx, untilRest)
	}
	if err != nil {
		d.stop()
		return nil, err
	}
	return d, nil
}

// eventsPerRound is how often each program runs in a round of perEvent, both halves together.
const eventsPerRound = 1000

// perEvent reads the kernel's own counters for each program and for an empty program on the same hook in the same
// run.
func perEvent(ctx context.Context, o options) ([]Measure, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "Programs",
		"-benchtime", strconv.Itoa(eventsPerRound)+"x", "-count", strconv.Itoa(o.rounds), "./tracker")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%v: %w\n%s", cmd.Args, err, out)
	}
	units := map[string]string{"ns/run": "ns", "ns/empty": "ns, an empty program", "x-empty": "times an empty program"}
	type row struct{ name, unit string }
	var rows []row
	figures := make(map[row][]float64)
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		line, found := strings.CutPrefix(lines.Text(), "BenchmarkPrograms/")
		if !found {
			continue
		}
		fields := strings.Fields(line)
		name := strings.TrimSuffix(fields[0], fmt.Sprintf("-%d", runtime.GOMAXPROCS(0))) // go test adds the suffix
		for i := 2; i+1 < len(fields); i += 2 {
			value, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return nil, err
			}
			r := row{name, units[fields[i+1]]}
			if r.unit != "" && figures[r] == nil {
				rows = append(rows, r)
			}
			figures[r] = append(figures[r], value)
		}
	}
	var all []Measure
	for _, r := range rows {
		all = append(all, amount(r.name, r.unit, figures[r]...))
	}
	return all, nil
}
