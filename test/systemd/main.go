// SPDX-License-Identifier: MIT

// Command systemd boots Debian with systemd, installs the package that make package makes, and takes the service through
// its life: in a container by systemd-nspawn for each suite, and in an emulated machine for each kernel. It needs root,
// debootstrap, systemd-nspawn and, for kernels, qemu-system-x86_64 and mke2fs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"
)

// options are the settings of the command line.
type options struct{ cache, suites, kernels, readme string }

func main() {
	var o options
	cache, _ := os.UserCacheDir()
	flag.StringVar(&o.cache, "cache", filepath.Join(cache, "ebpf-upgrader-systemd"), "`folder` for the root file systems")
	flag.StringVar(&o.suites, "suites", "bookworm", "`suites` of Debian to boot in a container, separated by spaces")
	flag.StringVar(&o.kernels, "kernels", "", "`kernels` to boot bookworm on, by their names in test/kernels, separated by spaces")
	flag.StringVar(&o.readme, "readme", "README.md", "`document` with the lines that install and uninstall")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "systemd:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	if os.Geteuid() != 0 {
		return errors.New("run it as root: it boots a system")
	}
	work, err := os.MkdirTemp("", "systemd-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	p, err := newPayload(ctx, work, o.readme)
	if err != nil {
		return err
	}
	var errs []error
	for suite := range strings.FieldsSeq(o.suites) {
		errs = append(errs, timed(suite+" in a container", func() error { return inContainer(ctx, o.cache, suite, p) }))
	}
	for kernel := range strings.FieldsSeq(o.kernels) {
		errs = append(errs, timed("kernel "+kernel, func() error { return onKernel(ctx, o.cache, kernel, p) }))
	}
	return errors.Join(errs...)
}

// timed prints how a system fared.
func timed(name string, do func() error) error {
	fmt.Println(name + ":")
	begin := time.Now()
	err := do()
	if err != nil {
		err = fmt.Errorf("%s: %w", name, err)
	}
	fmt.Printf("%s took %s\n", name, time.Since(begin).Round(time.Second))
	return err
}
