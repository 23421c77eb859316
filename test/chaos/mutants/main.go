// SPDX-License-Identifier: MIT

//go:build linux

// Command mutants shows that the oracle of test/chaos finds defects: it builds the service with one defect after the other,
// runs it among the faults, and fails where the defect is not reported. It needs root, and leaves the host's settings alone.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"ebpf-upgrader/test/report"
)

// trial is the run of one mutant.
type trial struct {
	mutant
	// found is what was reported first of what the mutant breaks; empty if it was not found. others counts other reports.
	found  string
	others int
	took   time.Duration
}

// options are those of all trials.
type options struct {
	duration time.Duration
	seed     uint64
	servers  int
	dir      string
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run() (err error) {
	var o options
	flag.DurationVar(&o.duration, "for", 40*time.Second, "duration of the storms for each mutant")
	flag.Uint64Var(&o.seed, "seed", 1, "seed of the first mutant")
	flag.IntVar(&o.servers, "servers", 60, "number of servers")
	only := flag.String("run", "", "play only mutants with names that match the regular `expression`")
	docs := flag.String("docs", "", "`document` that gets the results")
	flag.Parse()
	selected, err := regexp.Compile(*only)
	if err != nil {
		return err
	}
	if o.dir, err = os.MkdirTemp("", "mutants-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(o.dir)) }()
	if out, err := exec.Command("go", "build", "-o", filepath.Join(o.dir, "chaos"), "./test/chaos").CombinedOutput(); err != nil {
		return fmt.Errorf("build chaos: %w: %s", err, out)
	}
	var trials []trial
	var unfound []error
	for _, m := range append([]mutant{{name: "none"}}, mutants...) {
		o.seed++
		if !selected.MatchString(m.name) {
			continue
		}
		t, err := o.play(m)
		if err != nil {
			return err
		}
		trials = append(trials, t)
		if !t.isFine() {
			unfound = append(unfound, fmt.Errorf("%s: not as expected; repeat with -run '%s'", m.name, m.name))
		}
	}
	if len(unfound) > 0 || *docs == "" || *only != "" {
		return errors.Join(unfound...)
	}
	return section.Write(*docs, o.table(trials))
}

// isFine reports whether the mutant was found; for a service without a defect, whether no rule was broken.
func (t trial) isFine() bool {
	if t.breaks == "" {
		return t.others == 0
	}
	return t.found != ""
}

// patience is how long a quiet phase may take. Servers that are left old, such as those of a halted rollout, say nothing of most
// defects.
func (t trial) patience() time.Duration {
	switch t.rule {
	case 0, 5, 6:
		return 2 * time.Minute
	}
	return 15 * time.Second
}

// play builds a mutant and runs it among the faults.
func (o options) play(m mutant) (t trial, err error) {
	t.mutant = m
	root, err := os.Getwd()
	if err != nil {
		return t, err
	}
	replaced, err := m.write(root, o.dir)
	if err != nil {
		return t, err
	}
	text, err := json.Marshal(replaced)
	if err != nil {
		return t, err
	}
	program, list := filepath.Join(o.dir, "ebpf-upgrader"), filepath.Join(o.dir, "overlay.json")
	if err := os.WriteFile(list, text, 0o600); err != nil {
		return t, err
	}
	build := exec.Command("go", "build", "-overlay", list, "-o", program, "./cmd/ebpf-upgrader")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return t, fmt.Errorf("build %q: %w: %s", m.name, err, out)
	}
	fmt.Printf("%s:\n", m.name)
	begun := time.Now()
	cmd := exec.Command(filepath.Join(o.dir, "chaos"), "-program", program, "-host=false", "-few-pids=false", "-patience", t.patience().String(),
		"-for", o.duration.String(), "-seed", fmt.Sprint(o.seed), "-servers", fmt.Sprint(o.servers), "-churn", "100")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	err = cmd.Run()
	t.took = time.Since(begun)
	t.read(out.String())
	if exit := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &exit) || t.found == "" && t.others == 0) {
		return t, fmt.Errorf("run %q: %w: %s", m.name, err, out.String())
	}
	fmt.Printf("  found: %q; %d others; %s\n", t.found, t.others, t.took.Round(time.Second))
	return t, nil
}

// read reads the report of a run.
func (t *trial) read(out string) {
	breaks := regexp.MustCompile(t.breaks)
	for line := range strings.Lines(out) {
		what, is := strings.CutPrefix(strings.TrimSpace(line), "BROKEN: ")
		switch {
		case !is:
		case t.breaks == "" || !breaks.MatchString(what):
			t.others++
			fmt.Printf("  another rule: %s\n", what)
		case t.found == "":
			t.found = what
		}
	}
}

// section is the part of the document with the results.
var section = report.Section{Begin: "<!-- mutants -->\n", End: "<!-- end of mutants -->"}

func (o options) table(trials []trial) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s, %d servers, storms of %s for each:\n\n| defect | rule | reported, the first of it |\n|---|---|---|\n",
		report.Today(), o.servers, o.duration)
	for _, t := range trials {
		rule, found := fmt.Sprint(t.rule), t.found
		if t.breaks == "" {
			rule, found = "", "no broken rule"
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", t.name, rule, found)
	}
	return b.String() + "\n"
}
