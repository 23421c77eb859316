// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/controller"
	"ebpf-upgrader/internal/install"
	"ebpf-upgrader/internal/lock"
	"ebpf-upgrader/internal/metrics"
	"ebpf-upgrader/internal/quiet"
	"ebpf-upgrader/selector"
)

// garbage bounds the heap: it may grow by that percentage before it is collected. The service allocates little and lives long.
const garbage = 50

// Run serves until ctx ends, which is no error. It fails when another service serves the same.
func Run(ctx context.Context, cfg Config) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbage)
	}
	// The end of a log reader ends no service, and neither does that of a terminal: SIGHUP reloads the configuration. It does
	// until the process ends, so that none that comes late kills the service.
	signal.Ignore(syscall.SIGPIPE)
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	held, err := acquire(&cfg)
	if err != nil {
		return err
	}
	defer func() { _ = held.Release() }()
	if err := CheckConflict(cfg.Rule.Names, nil); err != nil {
		return err
	}
	cfg.publish(held)
	err = serve(ctx, cfg, held, hangups)
	if ctx.Err() != nil { // an interruption is how a service ends, even before it serves
		notifySystemd(cfg.Log, "STOPPING=1")
		return nil
	}
	return err
}

// acquire locks what is to be served: the host as a whole, or some installs.
func acquire(cfg *Config) (held *lock.Lock, err error) {
	if len(cfg.InstallPaths) == 0 {
		held, err = lock.AcquireHost(cfg.RunDir, cfg.Socket)
	} else {
		held, err = lock.AcquireAll(cfg.RunDir, cfg.InstallPaths, cfg.Socket)
	}
	if other, held := errors.AsType[*lock.HeldError](err); held {
		return nil, fmt.Errorf("%s: %w: query that with status, or stop it first", cfg.served(), other)
	}
	return held, err
}

// service is one service with what it is built from.
type service struct {
	controller *controller.Controller
	host       *Host
	refusals   *refusals
	events     *eventLog
	feed       *control.Feed
	counts     *metrics.Metrics
	watched    *installs
	kept       *keptHistory
	// staged is nil where nothing is staged.
	staged  *staging
	server  *control.Server
	reloads reloads
}

// serve builds a service and runs it.
func serve(stop context.Context, cfg Config, held *lock.Lock, hangups <-chan os.Signal) error {
	ctx, cancel := context.WithCancel(context.WithoutCancel(stop)) // outlives stop: the service still reports which servers are outdated
	defer cancel()
	feed, counts := control.NewFeed(), metrics.New(cfg.Release, cfg.Revision)
	h, err := OpenProc(cfg)
	if err != nil {
		return err
	}
	h.scanned, h.held = counts.Scanned, held
	if err := h.attachTracker(); err != nil {
		return err
	}
	// /proc stays open until the process ends: a check of an install may take as long as its file system does, and still
	// use it.
	defer h.closeSource()
	if err := h.enableGate(); err != nil {
		return err
	}
	h.cfg = h.effective(cfg)
	staged, err := startStaging(&cfg)
	if err != nil {
		return err
	}
	defer staged.close()
	watched := watchInstalls(ctx, h)
	defer watched.close()
	s := service{
		host: h, refusals: &refusals{gate: h.gate, feed: feed}, events: newEventLog(cfg.Log, watched.hub.Checker().BuildOf),
		feed: feed, counts: counts, watched: watched, staged: staged,
		reloads: reloads{base: cfg, hangups: hangups, requests: make(chan chan<- reloaded)},
	}
	watched.log = s.events
	defer keepOpened(ctx, &cfg, watched)()
	c := h.serviceConfig(ctx, watched, counts.Event)
	closeState, err := openState(&cfg, &c)
	if err != nil {
		return err
	}
	defer closeState()
	s.kept = keepHistory(&cfg, feed, &c)
	defer s.kept.close()
	if !h.gate.closed() {
		c.Prefers = h.watchesInstall
	}
	c.Observer = coverage{
		observers{s.events, feed, counts},
		h.gate, s.refusals, len(cfg.InstallPaths) == 0, cfg.Log,
	}
	c.Acted = func(a api.Act) {
		s.acted(control.Event{Act: string(a.Kind), By: &a.By.UID, PID: a.By.PID, Detail: a.By.Reason, Path: a.Path, UID: a.User})
	}
	s.controller = controller.New(c)
	counts.Follow(metrics.Sources{
		Mode: h.Source(), Tracker: h.counters(), Gate: h.gate.status, Watching: watched.watching, Status: control.Recently(s.controller.Status).Get,
		LogDropped:  func() (byReader, byUser uint64) { return cfg.LogDropped(), s.events.droppedLines() },
		HistoryLost: s.kept.lost, HistoryErr: s.kept.err, FellBack: h.fellBack,
		StandsBy: control.Recently(func(context.Context) (bool, error) { return h.standsBy() != nil, nil }).Get,
		Staged:   staged.source(), Fleet: staged.fleetSource(),
	})
	staged.connect(&s)
	s.server = control.NewServer(s.controlConfig())
	return s.run(ctx, stop, staged.parts(watched.hub)...)
}

// effective is a configuration as it holds on this host.
func (h *Host) effective(cfg Config) Config {
	if !h.gate.closed() {
		cfg = cfg.hurried()
	}
	if PIDNamespace() != HostNamespace {
		cfg.Limits = yielding(cfg.Limits)
	}
	return cfg
}

// run runs the service, its control socket, the other listeners and more, until one of them or stop ends.
func (s *service) run(ctx, stop context.Context, more ...func(context.Context) error) error {
	h, cfg := s.host, &s.host.cfg
	socket, err := control.Listen(cfg.Socket)
	if errors.Is(err, control.ErrInUse) {
		return fmt.Errorf("%w: give this one another --socket", err)
	}
	if err != nil {
		return err
	}
	defer func() { _ = socket.Close() }()
	if group := cfg.SocketGroup; group != nil {
		_ = os.Chown(cfg.Socket, -1, int(*group)) // which only shows the group: the service decides by what it was told
	}
	var left outdated
	parts := []func(context.Context) error{
		s.controller.Run,
		s.events.report,
		s.reload,
		func(ctx context.Context) error {
			select {
			case <-stop.Done():
				left = s.outdated(ctx)
			case <-ctx.Done(): // another part has failed
			}
			return nil
		},
		func(ctx context.Context) error { return s.server.Serve(ctx, socket) },
	}
	if cfg.MetricsListen != "" {
		public, err := net.Listen("tcp", cfg.MetricsListen)
		if err != nil {
			return fmt.Errorf("--metrics-listen %s: %w", cfg.MetricsListen, err)
		}
		parts = append(parts, func(ctx context.Context) error { return s.server.ServePublic(ctx, public) })
	}
	// Capabilities are given up on all threads. Once a process has been inspected, a thread may wait for that process
	// without a bound.
	if err := h.dropCapabilities(); err != nil {
		return err
	}
	if err := h.seed(stop); err != nil {
		return err
	}
	s.logStart()
	notifySystemd(cfg.Log, "READY=1")
	parts = append(parts, more...)
	parts = append(parts, func(ctx context.Context) error { return watchdog(ctx, cfg.Log, s.controller) })
	err = together(ctx, parts...)
	h.endGate(left)
	if err == nil {
		serviceStopped.to(cfg.Log, left.fields()...)
	}
	return err
}

// together runs all parts until one ends, and then ends the others.
func together(ctx context.Context, parts ...func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ends := make(chan error, len(parts))
	for _, part := range parts {
		go func() {
			defer cancel()
			ends <- part(ctx)
		}()
	}
	var errs []error
	for range parts {
		errs = append(errs, <-ends)
	}
	return errors.Join(errs...)
}

// serviceConfig is what every service of this program has in common.
func (h *Host) serviceConfig(ctx context.Context, watched *installs, count func(selector.EventKind)) controller.Config {
	log := h.cfg.Log
	c := controller.Config{
		Deliverer:          h.Deliverer(),
		Source:             h.Source(),
		Limits:             h.cfg.Limits,
		Lister:             h,
		Installs:           watched,
		BuildOf:            watched.hub.Checker().BuildOf,
		Paths:              h.cfg.InstallPaths,
		View:               h.procfs.View(),
		ForgetAfter:        h.cfg.ForgetAfter,
		MaxPerUser:         h.cfg.MaxPerUser,
		MaxInstallsPerUser: h.cfg.MaxInstalls,
		ScanEvery:          h.cfg.ScanEvery,
	}
	c.Quiet = h.idleness(h.cfg.Quiet)
	if h.tracker != nil {
		c.Events = events(ctx, h.tracker, count, func(err error) {
			h.trackerEnded.Store(true)
			sourceEnded.to(log, keyError.of(err))
		})
		c.ScanEvery = h.cfg.AuditEvery
		c.Audit = func(ctx context.Context) error { return audit(ctx, h.tracker, log) }
	}
	return c
}

// idleness says which servers are idle; nil: all may be signalled.
func (h *Host) idleness(after time.Duration) controller.Idleness {
	if after == 0 {
		return nil
	}
	return quiet.New(h.procfs, after)
}

// Follow runs a service without a control socket, journal or gate, until work with it returns. Files with an answer are
// not opened again.
func (h *Host) Follow(ctx context.Context, answers []install.CachedCheck, observer controller.Observer, work func(context.Context, *controller.Controller) error) error {
	watched := watchInstalls(ctx, h)
	defer watched.close()
	watched.hub.Checker().RestoreChecks(answers)
	c := h.serviceConfig(ctx, watched, func(selector.EventKind) {})
	c.Observer = observer
	serving := controller.New(c)
	return together(ctx, serving.Run, func(ctx context.Context) error { return work(ctx, serving) })
}
