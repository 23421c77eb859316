// SPDX-License-Identifier: MIT

//go:build linux

// Command bench measures what the documents claim, side by side with what people use today, and writes
// the results as JSON and CSV, the document and the charts. As root, from the folder bench: go run .
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"ebpf-upgrader/internal/testfleet"
)

// options say how much is measured.
type options struct {
	rounds int
	// most is the largest number of idle processes.
	most int
	only string
	out  string
}

func main() {
	var o options
	flag.IntVar(&o.rounds, "rounds", 11, "how often each is measured; the medians count")
	flag.IntVar(&o.most, "most", 50_000, "the largest number of idle processes")
	flag.StringVar(&o.only, "only", "", "sections, separated by commas: find, rollout, start, cost; all without")
	flag.StringVar(&o.out, "out", "results", "the folder for the results; docs/BENCHMARKS.md is written beside it if it is the default")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := o.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func (o options) run(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return errors.New("needs root: the tracker that it measures is the real one")
	}
	results, err := load(o.out)
	if err != nil {
		return err
	}
	for _, section := range []struct {
		name    string
		measure func(context.Context, options) ([]Measure, error)
	}{{"find", find}, {"rollout", rollouts}, {"start", starts}, {"cost", costs}} {
		if o.only != "" && !slices.Contains(strings.Split(o.only, ","), section.name) {
			continue
		}
		measures, err := section.measure(ctx, o)
		if err != nil {
			return fmt.Errorf("%s: %w", section.name, err)
		}
		results.replace(section.name, measures)
		if err := results.write(o.out); err != nil {
			return err
		}
	}
	return results.publish(o.out)
}

// scene is a host with idle processes and servers.
type scene struct {
	dir, install string
	crowds       []*testfleet.Crowd
}

// newScene starts n processes that do nothing, and k servers that run an older file than the install.
func newScene(n, k int) (s *scene, err error) {
	s = &scene{}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.dir, err = os.MkdirTemp("", "bench-"); err != nil {
		return s, err
	}
	s.install = filepath.Join(s.dir, testfleet.Name)
	idle, err := testfleet.StartCrowd(n, testfleet.CrowdOptions{Dir: s.dir, Every: n + 1})
	if err != nil {
		return s, err
	}
	s.crowds = append(s.crowds, idle)
	servers, err := testfleet.StartCrowd(k, testfleet.CrowdOptions{Dir: s.dir, UpgradeBin: s.install, Upgrades: true})
	if err != nil {
		return s, err
	}
	s.crowds = append(s.crowds, servers)
	return s, s.replace()
}

// replace installs the same program again, by rename.
func (s *scene) replace() error {
	content, err := os.ReadFile(s.install)
	if err != nil {
		return err
	}
	if err := testfleet.WriteProgram(s.install+".new", content); err != nil {
		return err
	}
	return os.Rename(s.install+".new", s.install)
}

func (s *scene) close() {
	for _, c := range slices.Backward(s.crowds) { // the first raised the kernel's limit
		_ = c.Stop()
	}
	_ = os.RemoveAll(s.dir)
}

// median is that of some times, in milliseconds.
func median(times []time.Duration) float64 {
	times = slices.Sorted(slices.Values(times))
	return float64(times[len(times)/2]) / float64(time.Millisecond)
}

// timed is how long f takes.
func timed(f func() error) (time.Duration, error) {
	begin := time.Now()
	err := f()
	return time.Since(begin), err
}

// candidate is one of several that do the same.
type candidate struct {
	name string
	do   func() error
	// slow ones are measured three times only.
	slow bool
}

// sideBySide measures all in turns, so that all meet the same load.
func sideBySide(ctx context.Context, rounds int, all []candidate) (map[string][]time.Duration, error) {
	times := make(map[string][]time.Duration)
	for round := range rounds {
		for _, c := range all {
			if c.slow && round >= 3 {
				continue
			}
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			took, err := timed(c.do)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			times[c.name] = append(times[c.name], took)
		}
	}
	return times, nil
}

// tool is a program of the machine. It is left out where it is missing.
func tool(ctx context.Context, slow bool, args ...string) []candidate {
	if _, err := exec.LookPath(args[0]); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %s is missing, and is left out\n", args[0])
		return nil
	}
	return []candidate{{name: strings.Join(args, " "), slow: slow, do: func() error {
		err := exec.CommandContext(ctx, args[0], args[1:]...).Run()
		if exit, ended := errors.AsType[*exec.ExitError](err); ended && exit.Exited() {
			return nil // it found nothing, or not everything could be read
		}
		return err
	}}}
}

func number(n int) string { return strconv.Itoa(n) }
