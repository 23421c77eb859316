// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"ebpf-upgrader/test/kernels/guest"
	"ebpf-upgrader/test/ragrat/outcome"
	"ebpf-upgrader/test/ragrat/published"
)

// realVersion is the version of rag-rat on other kernels, the smallest one.
const realVersion = "0.3.2"

// stepTriggers is a measurement with figures of its own.
const stepTriggers = "triggers"

// serverPlan returns the steps that play scenarios of test/ragrat: five rounds of good-5w, one of the others.
func (o options) serverPlan() guest.Plan {
	var plan guest.Plan
	if o.triggers > 0 {
		return guest.Plan{Steps: []guest.Step{{Name: stepTriggers, Args: []string{
			"/bin/ragrat", "-dir", "/rag-rat", "-versions", realVersion, "-program", "/bin/ebpf-upgrader",
			"-slower", "6", "-mode", o.mode, "-triggers", strconv.Itoa(o.triggers),
		}}}}
	}
	for _, name := range []string{"exit1-2w", "exit0-2w", "hang-2w", "no-initialize", "good-5w"} {
		rounds := "1"
		if name == "good-5w" {
			rounds = "5"
		}
		plan.Steps = append(plan.Steps, guest.Step{Name: "servers: " + name, Args: []string{
			"/bin/ragrat", "-json", "-dir", "/rag-rat", "-versions", realVersion, "-program", "/bin/ebpf-upgrader",
			"-slower", "6", "-run", name, "-mode", o.mode, "-rounds", rounds,
		}})
	}
	return plan
}

// playServers boots each kernel and upgrades real servers in it.
func (o options) playServers(ctx context.Context, chosen []kernel) error {
	chosen = slices.DeleteFunc(chosen, func(k kernel) bool { return k.without != "" })
	m, extra, err := newServerMachine(ctx, o.cache, chosen)
	if err != nil {
		return err
	}
	defer m.close()
	var errs []error
	var rows []outcome.OnKernel
	for _, k := range chosen {
		begin := time.Now()
		results, err := m.serversRepeatedly(ctx, k, o.serverPlan(), extra)
		for _, r := range results {
			fmt.Printf("%-12s %v\n", k.name, r)
			rows = append(rows, outcome.OnKernel{Kernel: k.name, Result: r})
		}
		for _, line := range outcome.Broken(results) {
			errs = append(errs, fmt.Errorf("%s: %s", k.name, line))
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", k.name, err))
		}
		fmt.Printf("%s took %s\n", k.name, time.Since(begin).Round(time.Second))
	}
	if o.docs != "" {
		errs = append(errs, outcome.WriteKernels(o.docs, rows))
	}
	return errors.Join(errs...)
}

// newServerMachine also returns the additional files of real servers: their sources by their paths in the guest.
func newServerMachine(ctx context.Context, cache string, chosen []kernel) (*machine, map[string]string, error) {
	versions, err := published.NewCache("", os.Stderr)
	if err != nil {
		return nil, nil, err
	}
	binary, err := versions.Path(ctx, realVersion)
	if err != nil {
		return nil, nil, err
	}
	extra, err := libraries(ctx, binary)
	if err != nil {
		return nil, nil, err
	}
	extra[filepath.Join("rag-rat", realVersion, "bin", "rag-rat")] = binary
	m, err := newMachine(ctx, cache, chosen, buildServers)
	return m, extra, err
}

func buildServers(ctx context.Context, work string) (map[string]string, error) {
	b := builder{work: work, programs: make(map[string]string)}
	return b.programs, errors.Join(
		b.do(ctx, "init", "build", "./test/kernels/guest/init"),
		b.do(ctx, "ebpf-upgrader", "build", "./cmd/ebpf-upgrader"),
		b.do(ctx, "ragrat", "build", "./test/ragrat"),
	)
}

// libraries returns the files that a program is linked with, by the paths at which the loader finds them (ldd(1)).
func libraries(ctx context.Context, program string) (map[string]string, error) {
	out, err := exec.CommandContext(ctx, "ldd", program).Output()
	if err != nil {
		return nil, fmt.Errorf("ldd %s: %w", program, err)
	}
	found := make(map[string]string)
	for line := range strings.Lines(string(out)) {
		for word := range strings.FieldsSeq(line) {
			if filepath.IsAbs(word) {
				found[strings.TrimPrefix(word, "/")] = word
			}
		}
	}
	return found, nil
}

// errMachine means that the emulated machine failed, and nothing is known of the servers.
var errMachine = errors.New("the machine failed")

// serversRepeatedly boots a kernel again if the machine fails. A broken limit is not tried again.
func (m *machine) serversRepeatedly(ctx context.Context, k kernel, plan guest.Plan, extra map[string]string) ([]outcome.Result, error) {
	for boot := 1; ; boot++ {
		results, err := m.serversOn(ctx, k, plan, extra)
		if !errors.Is(err, errMachine) || ctx.Err() != nil || boot == boots || len(outcome.Broken(results)) > 0 {
			return results, err
		}
		fmt.Printf("%s: %v\nbooting again:\n", k.name, err)
	}
}

// serversOn boots a kernel once. It returns the results that were printed, even with an error.
func (m *machine) serversOn(ctx context.Context, k kernel, plan guest.Plan, extra map[string]string) ([]outcome.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*longest)
	defer cancel()
	steps, console, err := m.run(ctx, k, plan, extra)
	if err != nil {
		err = fmt.Errorf("%w: %w", errMachine, err)
	}
	var results []outcome.Result
	for _, s := range steps {
		fmt.Printf("%s took %s\n", s.Name, s.Took.Round(time.Second))
		results = append(results, parseResults(s.Output)...)
		if s.Name == stepTriggers {
			fmt.Print(s.Output)
		}
		if s.Failure != "" {
			err = errors.Join(err, fmt.Errorf("%s: %s\n%s", s.Name, s.Failure, tail([]byte(s.Output))))
		}
	}
	if err != nil {
		err = fmt.Errorf("%w\nall output: %s", err, m.save(row{kernel: k, console: console}, 1))
	}
	return results, err
}

// parseResults finds the results in the output of the command ragrat.
func parseResults(output string) []outcome.Result {
	var results []outcome.Result
	for line := range strings.Lines(output) {
		_, text, found := strings.Cut(line, " {")
		var r outcome.Result
		if found && strings.HasPrefix(line, "--- ") && json.Unmarshal([]byte("{"+text), &r) == nil {
			results = append(results, r)
		}
	}
	return results
}

// addAll adds files of this machine by their paths in the guest, with their folders.
func (a *archive) addAll(files map[string]string) {
	made := make(map[string]bool)
	for _, path := range slices.Sorted(maps.Keys(files)) {
		for i, letter := range path {
			if dir := path[:i]; letter == '/' && !made[dir] {
				a.folder(dir)
				made[dir] = true
			}
		}
		a.copy(path, files[path])
	}
}
