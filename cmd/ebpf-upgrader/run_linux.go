// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"ebpf-upgrader/install"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/tracker"
	"ebpf-upgrader/upgrade"
)

func newRun(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run --install-path PATH",
		Short: "Serve: watch the binary, and signal outdated servers when a new one lands",
		Long: `Keeps track of the servers of this host, watches the installed binary, and signals
every outdated server: at the start, when a complete new binary stands there, and
when a server appears that is outdated. Runs until it is interrupted.`,
		Example: `  ebpf-upgrader run --install-path /usr/local/bin/rag-rat`,
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.serve(cmd.Context()) },
	}
	f := cmd.Flags()
	a.opts.addInstallPath(f)
	a.opts.addRule(f)
	a.opts.addSelf(f)
	a.opts.addSource(f)
	a.opts.addSettle(f)
	f.DurationVar(&a.opts.scanEvery, "scan-every", 30*time.Second, "time between scans for new servers (proc)")
	f.DurationVar(&a.opts.auditEvery, "audit-every", 10*time.Minute, "time between audits of the kernel's map by a scan (bpf)")
	return cmd
}

func (a *app) serve(ctx context.Context) error {
	if err := errors.Join(a.needInstall(), a.needSelf()); err != nil {
		return err
	}
	signal.Ignore(syscall.SIGHUP) // the end of a terminal is not the end of a service
	h, err := a.openHost(ctx)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil // to be interrupted is how a service ends, even before it serves
	case err != nil:
		return err
	}
	defer h.close()
	watcher, err := install.Watch(a.opts.installPath, a.opts.settle)
	if err != nil {
		return err
	}
	defer func() { _ = watcher.Close() }()
	a.log.Info("serving", "install", a.opts.installPath, "source", h.source())
	return upgrade.NewService(a.serviceConfig(ctx, h, watcher.Changes())).Run(ctx)
}

func (a *app) serviceConfig(ctx context.Context, h *host, installs <-chan selector.Install) upgrade.ServiceConfig {
	cfg := upgrade.ServiceConfig{
		Upgrader:  a.upgrader(h),
		Source:    h,
		Installs:  installs,
		Check:     func() selector.Install { return install.Check(a.opts.installPath) },
		ScanEvery: a.opts.scanEvery,
		Observer:  roundLog{a.log},
	}
	if h.tracker != nil {
		cfg.Events = h.events(ctx)
		cfg.ScanEvery = a.opts.auditEvery
		cfg.Audit = func(ctx context.Context) error { return a.audit(ctx, h.tracker) }
	}
	return cfg
}

// kinds translates what the tracker saw.
var kinds = map[tracker.Kind]upgrade.Kind{
	tracker.Exec: upgrade.Execed,
	tracker.Fork: upgrade.Forked,
	tracker.Left: upgrade.Ended,
	tracker.Exit: upgrade.Ended,
	tracker.Lost: upgrade.Lost,
}

// events hands the tracker's events on until the tracker is closed or ctx ends.
func (h *host) events(ctx context.Context) <-chan upgrade.Event {
	events := make(chan upgrade.Event)
	go func() {
		defer close(events)
		for {
			e, err := h.tracker.Next()
			if err != nil {
				return
			}
			select {
			case events <- upgrade.Event{Kind: kinds[e.Kind], PID: e.PID}:
			case <-ctx.Done():
				return
			}
		}
	}()
	return events
}

func (a *app) audit(ctx context.Context, t *tracker.Tracker) error {
	difference, err := t.Audit(ctx)
	if err != nil {
		return fmt.Errorf("audit the tracker: %w", err)
	}
	if len(difference.Missing)+len(difference.Extra) > 0 {
		a.log.Warn("the tracker was wrong", "missing", difference.Missing, "extra", difference.Extra)
	}
	return nil
}
