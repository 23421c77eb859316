// SPDX-License-Identifier: MIT

// Command kernels boots kernels of Debian in an emulated machine, runs the tests in each, and writes what
// came of it to docs/KERNELS.md. It needs qemu-system-x86_64, apt-get and dpkg-deb, a network for the
// first run, and no rights.
package main

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

//go:embed kernels.txt
var list string

// kernel is a row of kernels.txt.
type kernel struct{ name, suite, pkg, without string }

func kernels() ([]kernel, error) {
	var all []kernel
	for lines := bufio.NewScanner(strings.NewReader(list)); lines.Scan(); {
		line, _, _ := strings.Cut(lines.Text(), "#")
		switch f := strings.Fields(line); len(f) {
		case 0:
		case 4:
			all = append(all, kernel{f[0], f[1], f[2], strings.TrimPrefix(f[3], "-")})
		default:
			return nil, fmt.Errorf("kernels.txt: %q: want a name, a suite, a package and what is taken away", line)
		}
	}
	return all, nil
}

func main() {
	cache, _ := os.UserCacheDir()
	dir := flag.String("cache", filepath.Join(cache, "ebpf-upgrader-kernels"), "the folder for what is downloaded")
	only := flag.String("only", "", "names of kernels, separated by commas; all without")
	docs := flag.String("docs", "", "the document to write; rows of kernels that are not run stay as they are")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *dir, *only, *docs); err != nil {
		fmt.Fprintln(os.Stderr, "kernels:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, cache, only, docs string) error {
	all, err := kernels()
	if err != nil {
		return err
	}
	if only != "" {
		names := strings.Split(only, ",")
		all = slices.DeleteFunc(all, func(k kernel) bool { return !slices.Contains(names, k.name) })
	}
	if len(all) == 0 {
		return fmt.Errorf("-only %s: no such kernel in kernels.txt", only)
	}
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		return errors.New("qemu-system-x86_64 is missing: apt-get install qemu-system-x86")
	}
	if cache, err = filepath.Abs(cache); err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "kernels-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	programs, err := build(ctx, work)
	if err != nil {
		return err
	}
	p := packages{cache}
	if err := p.update(ctx, suites(all)); err != nil {
		return err
	}
	tools := make(map[string]string)
	for name, pkg := range map[string]string{"busybox": "busybox-static", "bash-static": "bash-static"} {
		if tools[name], err = p.file(ctx, pkg, toolsSuite, "bin/"+name); err != nil {
			return err
		}
	}
	images := make(map[string]string) // all first, so that one that is missing is told at once
	for _, k := range all {
		if images[k.name], err = p.file(ctx, k.pkg, k.suite, "boot/vmlinuz-*", "usr/lib/modules/*/vmlinuz"); err != nil {
			return err
		}
	}
	var rows []row
	for _, k := range all {
		r, err := twice(func() (row, error) { return test(ctx, k, images[k.name], tools, work, programs) })
		if err != nil {
			return err
		}
		fmt.Println(r.line())
		rows = append(rows, r)
		if docs == "" {
			continue
		}
		if err := writeTable(docs, rows); err != nil {
			return err
		}
	}
	for _, r := range rows {
		err = errors.Join(err, r.failure())
	}
	return err
}

// twice tests again where something failed, and tells both: the emulation can stand still for longer than a test
// waits.
func twice(test func() (row, error)) (row, error) {
	r, err := test()
	if err != nil || r.failure() == nil {
		return r, err
	}
	fmt.Printf("%s\n%v\nonce more:\n", r.line(), r.failure())
	return test()
}

// toolsSuite has the shell and the small programs that the tests start, as static binaries.
const toolsSuite = "bookworm"

func suites(all []kernel) []string {
	names := []string{toolsSuite}
	for _, k := range all {
		names = append(names, k.suite)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// build makes static programs of what is tested.
func build(ctx context.Context, work string) (map[string]string, error) {
	programs := make(map[string]string)
	do := func(name string, args ...string) error {
		programs[name] = filepath.Join(work, name)
		cmd := exec.CommandContext(ctx, "go", append(args[:1:1], append([]string{"-o", programs[name]}, args[1:]...)...)...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
		}
		return nil
	}
	err := errors.Join(
		do("init", "build", "./internal/kernels/guest/init"),
		do("true", "build", "./internal/kernels/guest/true"),
		do("ebpf-upgrader", "build", "./cmd/ebpf-upgrader"),
	)
	for name, pkg := range map[string]string{
		"tracker": "./tracker", "fallback": "./fallback", "proc": "./proc", "pidfd": "./pidfd",
		"testfleet": "./internal/testfleet", "cmd": "./cmd/ebpf-upgrader",
	} {
		err = errors.Join(err, do(name+".test", "test", "-c", pkg))
	}
	return programs, err
}

// longest is how long a kernel may take; the emulation is some ten times slower than the machine.
const longest = 20 * time.Minute

func test(ctx context.Context, k kernel, image string, tools map[string]string, work string, programs map[string]string) (row, error) {
	initramfs := filepath.Join(work, "initramfs")
	if err := writeInitramfs(initramfs, tools, programs, planFor(k)); err != nil {
		return row{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	begin := time.Now()
	results, err := boot(ctx, image, initramfs)
	if err != nil {
		return row{}, err
	}
	return newRow(k, results, time.Since(begin))
}
