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

// realVersion is the rag-rat whose servers are upgraded on other kernels: the smallest.
const realVersion = "0.3.2"

// stepTriggers measures, and has figures of its own.
const stepTriggers = "triggers"

// servers are the steps that play scenarios of test/ragrat, each once but the good one.
func (o options) servers() guest.Plan {
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

// playServers boots each kernel and has real servers upgraded in it.
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
		results, err := m.persistServers(ctx, k, o.servers(), extra)
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

// newServerMachine has what real servers need in the guest besides: at which path there, and from where.
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

// libraries are the files that a program is linked with, each at the path where the loader looks (ldd(1)).
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

// errMachine means that the emulated machine did not come to the end: nothing is known of the servers then.
var errMachine = errors.New("the machine failed")

// persistServers boots a kernel again where the machine fails. A limit that is broken is not tried again.
func (m *machine) persistServers(ctx context.Context, k kernel, plan guest.Plan, extra map[string]string) ([]outcome.Result, error) {
	for boot := 1; ; boot++ {
		results, err := m.serversOn(ctx, k, plan, extra)
		if !errors.Is(err, errMachine) || ctx.Err() != nil || boot == boots || len(outcome.Broken(results)) > 0 {
			return results, err
		}
		fmt.Printf("%s: %v\nonce more:\n", k.name, err)
	}
}

// serversOn boots one kernel. The results are those that were told, also after an error.
func (m *machine) serversOn(ctx context.Context, k kernel, plan guest.Plan, extra map[string]string) ([]outcome.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*longest)
	defer cancel()
	initramfs, said := filepath.Join(m.work, "initramfs"), filepath.Join(m.work, "console")
	if err := writeInitramfs(initramfs, m.tools, m.programs, extra, plan); err != nil {
		return nil, err
	}
	err := boot(ctx, m.images[k.name], initramfs, said)
	console, unread := os.ReadFile(said)
	steps, unclear := parse(console)
	if err = errors.Join(err, unread, unclear); err == nil && len(steps) < len(plan.Steps) {
		err = fmt.Errorf("%d of %d steps did not run", len(plan.Steps)-len(steps), len(plan.Steps))
	}
	if err != nil {
		err = fmt.Errorf("%w: %w\n%s", errMachine, err, tail(console))
	}
	var results []outcome.Result
	for _, s := range steps {
		results = append(results, told(s.Output)...)
		if s.Name == stepTriggers {
			fmt.Print(s.Output)
		}
		if s.Failure != "" {
			err = errors.Join(err, fmt.Errorf("%s: %s\n%s", s.Name, s.Failure, tail([]byte(s.Output))))
		}
	}
	if err != nil {
		err = fmt.Errorf("%w\nall that it said: %s", err, m.keep(row{kernel: k, console: console}, 1))
	}
	return results, err
}

// told are the results in what the command ragrat wrote.
func told(output string) []outcome.Result {
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

// addAll copies files of this machine to paths in the guest, with the folders on the way.
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
