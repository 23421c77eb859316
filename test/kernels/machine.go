// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// machine is all that is the same for every kernel, and the kernels' images by their names.
type machine struct {
	// work is a folder that goes with the machine; kept is one for what failed, which stays.
	work, kept              string
	programs, tools, images map[string]string
}

// newMachine builds the programs and fetches the packages: all first, so that one that is missing is told at
// once. The caller must close it.
func newMachine(ctx context.Context, cache string, chosen []kernel, build buildFunc) (*machine, error) {
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		return nil, errors.New("qemu-system-x86_64 is missing: apt-get install qemu-system-x86")
	}
	cache, err := filepath.Abs(cache)
	if err != nil {
		return nil, err
	}
	work, err := os.MkdirTemp("", "kernels-")
	if err != nil {
		return nil, err
	}
	m := &machine{work: work, kept: filepath.Join(cache, "failed")}
	if err := m.prepare(ctx, packages{cache}, chosen, build); err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

func (m *machine) close() { _ = os.RemoveAll(m.work) }

func (m *machine) prepare(ctx context.Context, p packages, chosen []kernel, build buildFunc) (err error) {
	if m.programs, err = build(ctx, m.work); err != nil {
		return err
	}
	if err := p.update(ctx, suites(chosen)); err != nil {
		return err
	}
	m.tools, m.images = make(map[string]string), make(map[string]string)
	for name, pkg := range map[string]string{"busybox": "busybox-static", "bash-static": "bash-static"} {
		if m.tools[name], err = p.file(ctx, pkg, toolsSuite, "bin/"+name); err != nil {
			return err
		}
	}
	for _, k := range chosen {
		if m.images[k.name], err = p.file(ctx, k.pkg, k.suite, "boot/vmlinuz-*", "usr/lib/modules/*/vmlinuz"); err != nil {
			return err
		}
	}
	return nil
}

// buildFunc makes the programs of a machine in a folder, and answers with their paths by their names.
type buildFunc func(ctx context.Context, work string) (map[string]string, error)

// builder makes static programs.
type builder struct {
	work     string
	programs map[string]string
}

func (b builder) do(ctx context.Context, name string, args ...string) error {
	b.programs[name] = filepath.Join(b.work, name)
	// Without the tables for debuggers: the tests install copies of themselves, which takes long there.
	flags := []string{args[0], "-ldflags=-s -w", "-o", b.programs[name]}
	cmd := exec.CommandContext(ctx, "go", append(flags, args[1:]...)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// buildTests makes programs of what is tested.
func buildTests(ctx context.Context, work string) (map[string]string, error) {
	b := builder{work: work, programs: make(map[string]string)}
	err := errors.Join(
		b.do(ctx, "init", "build", "./test/kernels/guest/init"),
		b.do(ctx, "true", "build", "./test/kernels/guest/true"),
		b.do(ctx, "sleep", "build", "./test/kernels/guest/sleep"),
		b.do(ctx, "facilities", "build", "./test/kernels/guest/facilities"),
		b.do(ctx, "ebpf-upgrader", "build", "./cmd/ebpf-upgrader"),
		b.do(ctx, "demo", "build", "./test/demo"),
	)
	for name, pkg := range map[string]string{
		"tracker": "./tracker", "fallback": "./fallback", "procfs": "./internal/procfs", "pidfd": "./internal/pidfd",
		"testfleet": "./test/testfleet", "service": "./internal/cli",
	} {
		err = errors.Join(err, b.do(ctx, name+".test", "test", "-c", pkg))
	}
	return b.programs, err
}

// boots is how often a kernel is tested where something fails. The emulation can stand still for longer than a test waits,
// and qemu 7.2 sometimes goes on with a breakpoint that the kernel has taken away again while it attached a program: the
// CPU stays in its handler for ever.
const boots = 3

// persist tests a kernel again where something failed, and tells all.
func (m *machine) persist(ctx context.Context, k kernel) row {
	var earlier []string
	var took time.Duration
	for boot := 1; ; boot++ {
		r := m.test(ctx, k)
		r.took += took
		r.first = strings.Join(earlier, "; then ")
		switch {
		case r.failure() == nil || ctx.Err() != nil:
			m.tellEarlier(r, boot)
			return r
		case boot == boots:
			fmt.Printf("all that %s said: %s\n", k.name, m.keep(r, boot))
			return r
		}
		fmt.Printf("%s\n%v\nall that it said: %s\nonce more:\n", r.line(), r.failure(), m.keep(r, boot))
		earlier, took = append(earlier, r.summary()), r.took
	}
}

// tellEarlier tells of tries that failed in a boot that went well.
func (m *machine) tellEarlier(r row, boot int) {
	for _, g := range r.groups() {
		for _, try := range r.results[g.title].Before {
			fmt.Printf("%s: %s failed before it went well: %s\n%s\n", r.name, g.title, try.Failure, telling(try.Output))
			fmt.Printf("all that it said: %s\n", m.keep(r, boot))
		}
	}
}

// longest is how long a kernel may take; the emulation is some ten times slower than the machine.
const longest = 20 * time.Minute

// test boots a kernel once. What goes wrong stands in the row.
func (m *machine) test(ctx context.Context, k kernel) row {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	begin := time.Now()
	initramfs, plan := filepath.Join(m.work, "initramfs"), planFor(k)
	if err := writeInitramfs(initramfs, m.tools, m.programs, nil, plan); err != nil {
		return newRow(k, nil, err)
	}
	said := filepath.Join(m.work, "console")
	err := boot(ctx, m.images[k.name], initramfs, said)
	console, unread := os.ReadFile(said)
	results, unclear := parse(console)
	unread = errors.Join(unread, unclear)
	if missing := len(plan.Steps) - len(results); err == nil && unread == nil && missing != 0 {
		err = fmt.Errorf("%d of %d steps did not run", missing, len(plan.Steps))
	}
	if err = errors.Join(err, unread); err != nil {
		err = fmt.Errorf("%w\n%s", err, tail(console))
	}
	r := newRow(k, results, err)
	r.console, r.took = console, time.Since(begin)
	return r
}

// keep writes everything that a kernel said at one of its boots to a file, and answers with its path.
func (m *machine) keep(r row, boot int) string {
	var text strings.Builder
	for _, s := range planFor(r.kernel).Steps {
		result := r.results[s.Name]
		for _, try := range append(result.Before, result) {
			fmt.Fprintf(&text, "=== %s: %s %s\n%s\n", s.Name, try.Took, try.Failure, try.Output)
		}
	}
	fmt.Fprintf(&text, "=== console\n%s", r.console)
	path := filepath.Join(m.kept, fmt.Sprintf("%s-%s-%d.txt", time.Now().UTC().Format("20060102T150405"), r.name, boot))
	err := os.MkdirAll(m.kept, 0o755)
	if err = errors.Join(err, os.WriteFile(path, []byte(text.String()), 0o644)); err != nil {
		return err.Error()
	}
	return path
}
