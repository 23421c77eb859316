// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"

	"ebpf-upgrader/test/ragrat/agents"
	"ebpf-upgrader/test/ragrat/outcome"
	"ebpf-upgrader/test/ragrat/published"
)

// take checks what was given.
func (c *command) take(g given) error {
	var err error
	if c.scenarios, err = choose(g.run); err != nil {
		return err
	}
	if g.list {
		for _, s := range c.scenarios {
			fmt.Printf("%-24s%s\n", s.name, s.about)
		}
		return flag.ErrHelp
	}
	for _, mode := range words(g.modes) {
		if !slices.Contains(outcome.Modes(), outcome.Mode(mode)) {
			return fmt.Errorf("-mode %q: want some of %v", mode, outcome.Modes())
		}
		c.modes = append(c.modes, outcome.Mode(mode))
	}
	if c.versions = words(g.versions); len(c.versions) == 0 {
		return errors.New("-versions: name one at least, as in 0.24.1")
	}
	if g.slower < 1 || c.rounds < 1 || c.tries < 1 {
		return errors.New("-slower, -rounds, -tries: want 1 or more")
	}
	if err := c.crowd.check(); err != nil {
		return err
	}
	if c.kept, err = openKept(g.results); err != nil {
		return err
	}
	c.whole = g.run == "" && g.modes == allModes && g.versions == allVersions
	c.pace, c.prebuilt = usualPace().times(g.slower), g.dir != ""
	c.cache = published.Cache{Dir: g.dir, Log: os.Stderr}
	if g.dir == "" {
		c.cache.Dir, err = published.DefaultDir()
	}
	return err
}

// words are separated by spaces or commas.
func words(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ',' })
}

func (c *command) run(ctx context.Context) error {
	switch {
	case c.build:
		_, err := c.binaries(ctx)
		return err
	case runtime.GOARCH != "amd64":
		return fmt.Errorf("%w: the binaries that fail are made for amd64 only", errSkipped)
	case os.Getuid() != 0:
		return fmt.Errorf("%w: needs root, for servers of users of their own", errSkipped)
	}
	paths, err := c.binaries(ctx)
	if err != nil {
		return err
	}
	if c.crowd.worktrees > 0 {
		return c.triggers(ctx, paths[0])
	}
	var states []outcome.State
	for i, version := range c.versions {
		found, err := c.states(ctx, version, paths[i])
		if err != nil {
			return fmt.Errorf("%s: %w", version, err)
		}
		states = append(states, found...)
	}
	results, err := c.playAll(ctx, paths)
	if err != nil {
		return err
	}
	return errors.Join(c.write(states), limitsOf(results))
}

// binaries are the versions' paths. What is not there is built.
func (c *command) binaries(ctx context.Context) ([]string, error) {
	var paths []string
	for _, version := range c.versions {
		find := c.cache.Binary
		if !c.prebuilt {
			if _, err := exec.LookPath("cargo"); err != nil {
				return nil, fmt.Errorf("%w: cargo is missing: install Rust, or give a folder with binaries (-dir)", errSkipped)
			}
			find = func(version string) (string, error) { return c.cache.Ensure(ctx, version) }
		}
		path, err := find(version)
		if err != nil {
			return nil, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// playAll plays every scenario in every mode with every version that it is for.
func (c *command) playAll(ctx context.Context, paths []string) ([]outcome.Result, error) {
	var results []outcome.Result
	for i := range c.versions {
		v := versions{from: c.versions[i], to: c.versions[i], fromPath: paths[i]}
		for _, s := range c.scenarios {
			if s.lands == newerVersion {
				if i+1 == len(c.versions) {
					continue
				}
				v.to, v.toPath = c.versions[i+1], paths[i+1]
			}
			some, err := c.modesOf(ctx, s, v)
			results = append(results, some...)
			if err != nil {
				return results, err
			}
			v.to = v.from
		}
	}
	return results, nil
}

// modesOf plays a scenario in every mode. A mode that cannot be had is said once.
func (c *command) modesOf(ctx context.Context, s scenario, v versions) ([]outcome.Result, error) {
	var results []outcome.Result
	for _, mode := range slices.Clone(c.modes) {
		if mode == outcome.Alone && s.event != "" {
			continue // there is nothing that it could happen to
		}
		some, err := c.persist(ctx, s, v, mode)
		results = append(results, some...)
		switch {
		case errors.Is(err, agents.ErrNoGate) && len(c.modes) > 1:
			fmt.Fprintln(os.Stderr, "ragrat: without the mode gate:", err)
			c.modes = slices.DeleteFunc(c.modes, func(m outcome.Mode) bool { return m == mode })
		case err != nil:
			return results, fmt.Errorf("%s, %s, %s: %w", s.name, mode, v.from, err)
		}
	}
	return results, nil
}

// persist plays a scenario in a mode. Without the gate the outcome depends on whether the machine lets the service be
// quicker than the servers' own trigger: a limit that is broken then is tried again.
func (c *command) persist(ctx context.Context, s scenario, v versions, mode outcome.Mode) ([]outcome.Result, error) {
	for try := 1; ; try++ {
		results, err := c.play(ctx, s, v, mode)
		if err != nil || mode != outcome.Hurry || try >= c.tries || len(outcome.Broken(results)) == 0 {
			return results, err
		}
		fmt.Fprintf(os.Stderr, "ragrat: %s broke its limit in a hurry, try %d of %d\n", s.name, try, c.tries)
	}
}

// say tells a result at once. In the emulated machine it has the form of a test's, with the figures as JSON behind.
func (c *command) say(r outcome.Result) {
	if !c.json {
		fmt.Println(r)
		return
	}
	verdict := "PASS"
	if len(outcome.Broken([]outcome.Result{r})) > 0 {
		verdict = "FAIL"
	}
	text, err := json.Marshal(r)
	if err != nil { // every field is a plain value
		text = []byte(err.Error())
	}
	fmt.Printf("--- %s: %s/%s %s\n", verdict, r.Scenario, r.Mode, text)
}

// limitsOf says in a line each which limits were broken.
func limitsOf(results []outcome.Result) error {
	var errs []error
	for _, line := range outcome.Broken(results) {
		errs = append(errs, errors.New(line))
	}
	return errors.Join(errs...)
}

// write writes the document after a run of everything, or of what the file of results lacked.
func (c *command) write(states []outcome.State) error {
	if c.docs == "" || !c.whole && c.kept.file == nil {
		return nil
	}
	return outcome.Write(c.docs, states, c.kept.sorted())
}
