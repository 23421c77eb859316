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
	"syscall"
	"time"
)

// options are the settings of the command line.
type options struct {
	cache, suites, kernels, readme, docs string
	rpm                                  bool
}

func main() {
	var o options
	cache, _ := os.UserCacheDir()
	flag.StringVar(&o.cache, "cache", filepath.Join(cache, "ebpf-upgrader-systemd"), "`folder` for the root file systems")
	flag.StringVar(&o.suites, "suites", "bookworm", "`suites` of Debian to boot in a container, separated by spaces")
	flag.StringVar(&o.kernels, "kernels", "", "`kernels` to boot bookworm on, by their names in test/kernels, separated by spaces")
	flag.StringVar(&o.readme, "readme", "README.md", "`document` with the lines that install and uninstall")
	flag.StringVar(&o.docs, "docs", "", "`document` in which the rows of these systems are replaced")
	flag.BoolVar(&o.rpm, "rpm", false, "boot bookworm with the package for rpm, too")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
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
	systems, err := o.systems(ctx, work)
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range systems {
		row, err := s.boot()
		if err == nil {
			err = writeRow(o.docs, row)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// system is what one life needs.
type system struct {
	name string
	live func() (lived, error)
}

// systems builds the packages, and lists what is to be booted.
func (o options) systems(ctx context.Context, work string) ([]system, error) {
	var all []system
	if o.suites+o.kernels != "" {
		p, err := newPayload(ctx, work, o.readme, "deb")
		if err != nil {
			return nil, err
		}
		for suite := range strings.FieldsSeq(o.suites) {
			all = append(all, o.container(ctx, suite+" in a container", "options", p, suite))
		}
		for kernel := range strings.FieldsSeq(o.kernels) {
			all = append(all, system{kernelSuite + " on " + kernel, func() (lived, error) { return onKernel(ctx, o.cache, kernel, p) }})
		}
	}
	if o.rpm {
		p, err := newPayload(ctx, work, o.readme, "rpm")
		if err != nil {
			return nil, err
		}
		all = append(all, o.container(ctx, kernelSuite+" with rpm", "rpm", p, kernelSuite, "rpm"))
	}
	return all, nil
}

// container boots a suite with more packages. The rpm of Debian runs the scriptlets as that of any other distribution.
func (o options) container(ctx context.Context, name, words string, p payload, suite string, more ...string) system {
	return system{name, func() (lived, error) {
		base, err := root(ctx, o.cache, suite, more...)
		if err != nil {
			return lived{}, err
		}
		return inContainer(ctx, base, words, p)
	}}
}

// boot prints how a system fared, and returns its row in the document.
func (s system) boot() (string, error) {
	fmt.Println(s.name + ":")
	begin := time.Now()
	l, err := s.live()
	took := time.Since(begin)
	fmt.Printf("%s took %s\n", s.name, took.Round(time.Second))
	if err != nil {
		return "", fmt.Errorf("%s: %w", s.name, err)
	}
	return l.row(s.name, took), nil
}
