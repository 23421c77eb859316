// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"ebpf-upgrader/test/ragrat/agents"
	"ebpf-upgrader/test/ragrat/outcome"
	"ebpf-upgrader/test/ragrat/published"
	"ebpf-upgrader/test/report"
)

// apply checks and converts flags.
func (c *command) apply(raw rawFlags) error {
	var err error
	if c.scenarios, err = choose(raw.run); err != nil {
		return err
	}
	if raw.list {
		for _, s := range c.scenarios {
			fmt.Printf("%-24s%s\n", s.name, s.about)
		}
		return flag.ErrHelp
	}
	for _, mode := range words(raw.modes) {
		if !slices.Contains(outcome.Modes(), outcome.Mode(mode)) {
			return fmt.Errorf("-mode %q: want some of %v", mode, outcome.Modes())
		}
		c.modes = append(c.modes, outcome.Mode(mode))
	}
	if c.versions = words(raw.versions); len(c.versions) == 0 {
		return errors.New("-versions: name at least one, as in 0.24.1")
	}
	if raw.slower < 1 || c.rounds < 1 || c.tries < 1 {
		return errors.New("-slower, -rounds, -tries: want 1 or more")
	}
	if err := c.load.check(); err != nil {
		return err
	}
	if c.results, err = report.OpenStore[outcome.Result](raw.results); err != nil {
		return err
	}
	c.complete = raw.run == "" && raw.modes == allModes && raw.versions == allVersions
	c.pace = usualPace().times(raw.slower)
	c.cache, err = published.NewCache(raw.dir, os.Stderr)
	return err
}

// words splits a text at spaces and commas.
func words(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ',' })
}

func (c *command) run(ctx context.Context) error {
	switch {
	case c.build:
		_, err := c.binaries(ctx)
		return err
	case runtime.GOARCH != "amd64":
		return fmt.Errorf("%w: the failing binaries are made for amd64 only", errSkipped)
	case os.Getuid() != 0:
		return fmt.Errorf("%w: needs root, because the servers run as other users", errSkipped)
	}
	paths, err := c.binaries(ctx)
	if err != nil {
		return err
	}
	if c.load.worktrees > 0 {
		return c.triggers(ctx, paths[0])
	}
	states, err := c.allStates(ctx, paths)
	if err != nil {
		return err
	}
	results, err := c.playAll(ctx, paths)
	if err != nil {
		return err
	}
	return errors.Join(c.writeDocument(states), limitErrors(results))
}

// documents reports whether the tables are written: after a run of all scenarios, or of those that the file of results
// lacked.
func (c *command) documents() bool { return c.docs != "" && (c.complete || c.results.HasFile()) }

// binaries returns the paths of the versions, and builds missing ones.
func (c *command) binaries(ctx context.Context) ([]string, error) {
	var paths []string
	for _, version := range c.versions {
		path, err := c.cache.Path(ctx, version)
		if errors.Is(err, published.ErrNoCargo) {
			return nil, fmt.Errorf("%w: %w", errSkipped, err)
		}
		if err != nil {
			return nil, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// playAll plays every scenario in every mode with every version that the scenario allows.
func (c *command) playAll(ctx context.Context, paths []string) ([]outcome.Result, error) {
	var results []outcome.Result
	for i := range c.versions {
		for _, s := range c.scenarios {
			v := versions{from: c.versions[i], to: c.versions[i], fromPath: paths[i]}
			if s.installs == newerVersion {
				if i+1 == len(c.versions) {
					continue
				}
				v.to, v.toPath = c.versions[i+1], paths[i+1]
			}
			some, err := c.playModes(ctx, s, v)
			results = append(results, some...)
			if err != nil {
				return results, err
			}
		}
	}
	return results, nil
}

// playModes plays a scenario in every mode. A mode that is not available is reported once and left out from then on.
func (c *command) playModes(ctx context.Context, s scenario, v versions) ([]outcome.Result, error) {
	var results []outcome.Result
	for _, mode := range slices.Clone(c.modes) {
		if mode == outcome.Alone && s.event != "" {
			continue // the event needs a service
		}
		some, err := c.playUntilInLimits(ctx, s, v, mode)
		results = append(results, some...)
		switch {
		case errors.Is(err, agents.ErrNoGate) && len(c.modes) > 1:
			fmt.Fprintln(os.Stderr, "ragrat: leaving out the mode gate:", err)
			c.modes = slices.DeleteFunc(c.modes, func(m outcome.Mode) bool { return m == mode })
		case err != nil:
			return results, fmt.Errorf("%s, %s, %s: %w", s.name, mode, v.from, err)
		}
	}
	return results, nil
}

// playUntilInLimits plays a scenario in a mode. Without the gate the outcome depends on whether the machine lets the
// service be faster than the servers' own trigger. A limit that is broken in that mode is tried again.
func (c *command) playUntilInLimits(ctx context.Context, s scenario, v versions, mode outcome.Mode) ([]outcome.Result, error) {
	for try := 1; ; try++ {
		results, err := c.play(ctx, s, v, mode)
		if err != nil || mode != outcome.Hurry || try >= c.tries || len(outcome.Broken(results)) == 0 {
			return results, err
		}
		fmt.Fprintf(os.Stderr, "ragrat: %s broke its limit without the gate, try %d of %d\n", s.name, try, c.tries)
	}
}

// limitErrors has one line for each broken limit.
func limitErrors(results []outcome.Result) error {
	var errs []error
	for _, line := range outcome.Broken(results) {
		errs = append(errs, errors.New(line))
	}
	return errors.Join(errs...)
}

func (c *command) writeDocument(states []outcome.State) error {
	if !c.documents() {
		return nil
	}
	return outcome.Write(c.docs, states, inOrder(c.results.Results))
}
