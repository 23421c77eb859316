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

	"ebpf-upgrader/test/kernels/guest"
)

// machine has the programs, tools and settings for every kernel, and the images of the kernels by their names.
type machine struct {
	// work is a temporary folder. kept is a folder for the output of failed boots, which stays.
	work, kept              string
	programs, tools, images map[string]string
}

// newMachine builds the programs and fetches all packages before the first boot, so that a missing one is an error at
// once. The caller must close the machine.
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

// buildFunc builds the programs of a machine in a folder, and returns their paths by their names.
type buildFunc func(ctx context.Context, work string) (map[string]string, error)

// builder builds static programs.
type builder struct {
	work     string
	programs map[string]string
}

func (b builder) do(ctx context.Context, name string, args ...string) error {
	b.programs[name] = filepath.Join(b.work, name)
	// Without debug information: the tests install copies of themselves, which is slow in the emulation.
	flags := []string{args[0], "-ldflags=-s -w", "-o", b.programs[name]}
	cmd := exec.CommandContext(ctx, "go", append(flags, args[1:]...)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// buildTests builds the programs and the tests.
func buildTests(ctx context.Context, work string) (map[string]string, error) {
	b := builder{work: work, programs: make(map[string]string)}
	err := errors.Join(
		b.do(ctx, "init", "build", "./test/kernels/guest/init"),
		b.do(ctx, "true", "build", "./test/kernels/guest/true"),
		b.do(ctx, "sleep", "build", "./test/kernels/guest/sleep"),
		b.do(ctx, "facilities", "build", "./test/kernels/guest/facilities"),
		b.do(ctx, "nfs", "build", "./test/kernels/guest/nfs"),
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

// boots is the number of boots of a kernel while something fails. The emulation can stand still for longer than a
// test waits. And qemu 7.2 sometimes keeps a breakpoint that the kernel has removed after attaching a program: the
// CPU then stays in its handler for ever.
const boots = 3

// testRepeatedly tests a kernel again if something failed, and prints the failures.
func (m *machine) testRepeatedly(ctx context.Context, k kernel) row {
	var earlier []string
	var took time.Duration
	for boot := 1; ; boot++ {
		r := m.test(ctx, k)
		r.took += took
		r.earlierBoots = strings.Join(earlier, "; then ")
		switch {
		case r.failure() == nil || ctx.Err() != nil:
			m.printEarlier(r, boot)
			return r
		case boot == boots:
			fmt.Printf("output of %s: %s\n", k.name, m.save(r, boot))
			return r
		}
		fmt.Printf("%s\n%v\nall output: %s\nbooting again:\n", r.line(), r.failure(), m.save(r, boot))
		earlier, took = append(earlier, r.summary()), r.took
	}
}

// printEarlier prints the failed tries of a successful boot.
func (m *machine) printEarlier(r row, boot int) {
	for _, g := range r.groups() {
		for _, try := range r.results[g.title].Before {
			fmt.Printf("%s: %s failed before it passed: %s\n%s\n", r.name, g.title, try.Failure, failureLines(try.Output))
			fmt.Printf("all output: %s\n", m.save(r, boot))
		}
	}
}

// longest limits the tests of a kernel. The emulation is some ten times slower than the machine.
const longest = 20 * time.Minute

// test boots a kernel once. The row has everything that went wrong.
func (m *machine) test(ctx context.Context, k kernel) row {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	begin := time.Now()
	files, err := nfsFiles(k, m.images[k.name])
	if err != nil {
		return newRow(k, nil, err)
	}
	results, console, err := m.run(ctx, k, planFor(k), files)
	r := newRow(k, results, err)
	r.console, r.took = console, time.Since(begin)
	return r
}

// run boots a kernel that runs a plan with additional files by their paths in the guest. It returns the results that can be
// read, even with an error.
func (m *machine) run(ctx context.Context, k kernel, plan guest.Plan, extra map[string]string) ([]guest.Result, []byte, error) {
	initramfs, output := filepath.Join(m.work, "initramfs"), filepath.Join(m.work, "console")
	if err := writeInitramfs(initramfs, m.tools, m.programs, extra, plan); err != nil {
		return nil, nil, err
	}
	err := boot(ctx, m.images[k.name], initramfs, output)
	console, unread := os.ReadFile(output)
	results, unclear := parse(console)
	unread = errors.Join(unread, unclear)
	if missing := len(plan.Steps) - len(results); err == nil && unread == nil && missing != 0 {
		err = fmt.Errorf("%d of %d steps did not run", missing, len(plan.Steps))
	}
	if err = errors.Join(err, unread); err != nil {
		err = fmt.Errorf("%w\n%s", err, tail(console))
	}
	return results, console, err
}

// save writes the complete output of a boot to a file, and returns its path.
func (m *machine) save(r row, boot int) string {
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
