// SPDX-License-Identifier: MIT

//go:build linux

// Command observe lets a real Prometheus scrape the service, makes the fault of each alert with real servers, and waits
// until the alert fires and ends. It runs each query of the dashboard, and looks at the page of the service and at the
// graph of Prometheus in Chromium. It needs root, and Debian's packages prometheus and chromium.
//
// The servers have a name and an install of their own, so no service of the host sees them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/test/testfleet"
)

// options are the settings of the command line.
type options struct {
	program, rules, shots, prometheus, chromium string
	every, within                               time.Duration
}

func main() {
	testfleet.Main() // does not return in a server of the test
	// The kernel ends what this thread starts with it (PR_SET_PDEATHSIG).
	runtime.LockOSThread()
	var o options
	flag.StringVar(&o.program, "program", "bin/ebpf-upgrader", "the `file` of the service")
	flag.StringVar(&o.rules, "rules", "packaging/observe", "`folder` with the rules and the dashboard")
	flag.StringVar(&o.shots, "shots", "bin/observe", "`folder` for the screenshots")
	flag.StringVar(&o.prometheus, "prometheus", "prometheus", "the `program` Prometheus")
	flag.StringVar(&o.chromium, "chromium", "chromium", "the `program` Chromium; empty: no page is looked at")
	flag.DurationVar(&o.every, "every", time.Second, "`time` between scrapes; alerts wait for two, and look back at ten")
	flag.DurationVar(&o.within, "within", 30*time.Second, "`time` in which each alert must fire, and end")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "observe:", err)
		os.Exit(1)
	}
}

// scene is what a fault is made with.
type scene struct {
	options
	// dir has everything that the test writes, and disk is a small file system below it with the files of the service.
	dir, disk string
	install   *testfleet.Install
	service   *service
	prom      *prometheus
	fleets    []*testfleet.Fleet
	// bpf says that the kernel program can be used here.
	bpf bool
}

// diskSize is enough for the journal and the history.
const diskSize = "size=8m,mode=755"

func run(ctx context.Context, o options) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("run it as root: it serves several users and mounts a file system")
	}
	dir, err := os.MkdirTemp("", "observe-")
	if err != nil {
		return err
	}
	s := &scene{options: o, dir: dir, disk: filepath.Join(dir, "disk")}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(s.disk, 0o755), os.MkdirAll(o.shots, 0o755)); err != nil {
		return err
	}
	if err := unix.Mount("observe", s.disk, "tmpfs", 0, diskSize); err != nil {
		return fmt.Errorf("mount a small file system: %w", err)
	}
	own, err := os.Executable()
	if err != nil {
		return err
	}
	if s.install, err = testfleet.NewInstall(dir, own); err != nil {
		return err
	}
	if err := s.serve(ctx, nil); err != nil {
		return err
	}
	if s.prom, err = startPrometheus(ctx, o, dir, s.service.address); err != nil {
		return err
	}
	began := time.Now()
	if err := s.play(ctx); err != nil {
		return err
	}
	fmt.Printf("all alerts fired and ended, all panels have data: %s\n", time.Since(began).Round(time.Second))
	return nil
}

// close ends everything, in the order in which one needs the other.
func (s *scene) close() error {
	var errs []error
	for _, f := range s.fleets {
		errs = append(errs, f.StopAll())
	}
	if s.service != nil {
		s.service.stop()
	}
	if s.prom != nil {
		s.prom.process.stop()
	}
	_ = unix.Unmount(s.disk, unix.MNT_DETACH)
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}

// play makes the faults.
func (s *scene) play(ctx context.Context) error {
	steps := []func(context.Context) error{
		s.rollout, s.halt, s.unready, s.lint, s.stagedFile, s.panels, s.pages, s.pause, s.silent, s.fullDisk, s.down, s.noFiles, s.noKill, s.noBPF,
	}
	if s.bpf {
		steps = append(steps, s.fullMap, s.lostEvents)
	} else {
		fmt.Println("BPF cannot be used here: EBPFUpgraderMapNearlyFull and EBPFUpgraderLosesEvents have their unit tests only")
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return fmt.Errorf("%w\nthe service's log ends in:\n%s", err, s.service.tail())
		}
	}
	return s.allFired()
}
