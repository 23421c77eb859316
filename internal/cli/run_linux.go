// SPDX-License-Identifier: MIT

package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/controller"
	"ebpf-upgrader/internal/journal"
	"ebpf-upgrader/internal/lock"
	"ebpf-upgrader/internal/metrics"
	"ebpf-upgrader/internal/quiet"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

func newRun(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Serve: watch the binaries, and upgrade outdated servers when a new one lands",
		Long: `Keeps track of the servers of this host, watches the binary that each names as its
own, in whatever container, and signals every outdated server: at the start, when a
complete new binary stands there, and when a server appears that is outdated. Of
each install the first goes alone, and the others follow when it has upgraded; when
one dies of it, nobody else is signalled. Runs until it is interrupted, and answers
to status, events, pause, resume and trigger meanwhile.`,
		Example: `  ebpf-upgrader run
  ebpf-upgrader run --user alice --user bob --no-containers
  ebpf-upgrader run --install-path /usr/local/bin/rag-rat --canary 3 --max-in-flight 10%`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a.opts.isSet = cmd.Flags().Changed
			return a.serve(cmd.Context())
		},
	}
	f := cmd.Flags()
	a.opts.addInstallPaths(f)
	a.opts.addRule(f)
	a.opts.addSelection(f)
	a.opts.addSelf(f)
	a.opts.addSource(f)
	a.opts.addSettle(f)
	a.opts.addLimits(f, rollout.DefaultLimits().Canary)
	a.opts.addRunDir(f)
	a.opts.addSocket(f)
	a.opts.addStateDir(f)
	f.StringVar(&a.opts.metrics, "metrics-listen", "", "also serve /metrics, /healthz and /readyz on this address, e.g. 127.0.0.1:9750")
	f.DurationVar(&a.opts.forgetAfter, "forget-after", controller.DefaultForgetAfter, "how long an install is watched that no server names any more")
	f.IntVar(&a.opts.maxPerUser, "max-per-user", controller.DefaultMaxPerUser, "how many servers of one user are looked at")
	f.IntVar(&a.opts.maxInstalls, "max-installs-per-user", controller.DefaultMaxPlacesPerUser, "how many installs are watched for one user")
	f.DurationVar(&a.opts.scanEvery, "scan-every", 30*time.Second, "time between scans for new servers (proc)")
	f.Uint32Var(&a.opts.ringBytes, "ring-bytes", 256<<10, "size of the buffer for the kernel's events, a power of two (bpf)")
	f.StringVar(&a.opts.gate, "gate", gateAuto, "refuse the servers' own signals: auto (where the kernel takes the program), on (or fail), off")
	f.DurationVar(&a.opts.auditEvery, "audit-every", 10*time.Minute, "time between audits of the kernel's map by a scan (bpf)")
	return cmd
}

func (a *app) serve(ctx context.Context) error {
	if err := errors.Join(a.checkedPaths(), a.needSelf()); err != nil {
		return err
	}
	signal.Ignore(syscall.SIGHUP) // nothing is read again yet, and the end of a terminal is not the end of a service
	held, err := a.acquire()
	if err != nil {
		return a.whyLocked(err)
	}
	defer func() { _ = held.Release() }()
	if err := a.servedAlready(); err != nil {
		return err
	}
	a.announce(held)
	err = a.serveLocked(ctx)
	if ctx.Err() != nil { // to be interrupted is how a service ends, even before it serves
		a.tellSystemd("STOPPING=1")
		return nil
	}
	return err
}

// acquire locks what is to be served: the host as a whole, or some installs.
func (a *app) acquire() (*lock.Lock, error) {
	if len(a.opts.installPaths) == 0 {
		return lock.AcquireHost(a.opts.runPath(), a.opts.socketPath())
	}
	return lock.AcquireAll(a.opts.runPath(), a.opts.installPaths, a.opts.socketPath())
}

// whyLocked says who serves that already.
func (a *app) whyLocked(err error) error {
	if other, held := errors.AsType[*lock.HeldError](err); held {
		return fmt.Errorf("%s: %w: ask that with status, or stop it first", a.opts.served(), other)
	}
	return err
}

// served names what is served.
func (o *options) served() string {
	if len(o.installPaths) == 0 {
		return "the whole host"
	}
	quoted := make([]string, 0, len(o.installPaths))
	for _, path := range o.installPaths {
		quoted = append(quoted, strconv.Quote(path))
	}
	return "install " + strings.Join(quoted, ", ")
}

func (a *app) serveLocked(stop context.Context) error {
	ctx, cancel := context.WithCancel(context.WithoutCancel(stop)) // outlives stop: the service still says which servers are behind
	defer cancel()
	feed, counts := control.NewFeed(), metrics.New(version, revision())
	a.scanned = counts.Scanned
	h, err := a.attachHost()
	if err != nil {
		return err
	}
	// Nobody waits for a look at an install, which may take as long as its file system does. It may still use
	// /proc, which is closed when the process ends.
	defer h.closeSource()
	if err := a.enableGate(h); err != nil {
		return err
	}
	h.refusals = &refusals{gate: h.gate, feed: feed}
	if !h.gate.closed() {
		a.hurry()
	}
	watched := watchInstalls(ctx, h.procfs, a.opts.settle)
	defer watched.close()
	watched.serve(h)
	defer a.keepOpened(ctx, watched)()
	if pidNamespace() != hostNamespace {
		a.yield()
	}
	cfg := a.serviceConfig(ctx, h, watched, counts.Event)
	closeState, err := a.openState(&cfg)
	if err != nil {
		return err
	}
	defer closeState()
	if !h.gate.closed() {
		cfg.Prefers = h.watchesInstall
	}
	cfg.Observer = keeper{
		observers{serviceLog{a.log}, feed, counts},
		h.gate, h.refusals, len(a.opts.installPaths) == 0,
		func(err error) { a.log.Warn("the gate covers one too many", "because", err) },
	}
	service := controller.NewService(cfg)
	a.instrument(counts, h, watched, service)
	return a.serveAll(ctx, stop, service, control.NewServer(control.Config{
		Service: service, Feed: feed, Metrics: counts.Handler(), Tracker: h.counters(), Watching: watched.watching,
		Gate: h.gateStatus, Covers: h.gate.coversPID,
		Info: control.Info{
			Version: fullVersion(), PID: selector.PID(os.Getpid()), Started: time.Now(), PIDNamespace: pidNamespace(),
			WatchesSignals: h.tracker != nil && h.tracker.WatchesSignals(),
		},
	}), h)
}

// yield lets a service of the host go first, which may be there and cannot be seen from in here: until all of its
// rollout is over, which takes its canaries that long at most with the default limits; the last second is for the
// others to exec. That its signals may be seen here is not enough, because it may scan, and not see those of here.
func (a *app) yield() {
	host, l := rollout.DefaultLimits(), &a.opts.limits
	l.Yield = host.QuietWithin + host.CanaryTimeout + 2*host.Hold + time.Second
	l.RetryAfter += l.Yield
}

// openState reads what the last process left: the journal, and an operator's pause. Where the journal cannot be read the
// service does not start, because the last process may just have signalled any server.
func (a *app) openState(cfg *controller.ServiceConfig) (done func(), err error) {
	dir, err := a.opts.statePath()
	if err != nil {
		return nil, err
	}
	file, saved, err := journal.Open(a.opts.runPath(), a.opts.serves())
	switch {
	case errors.Is(err, journal.ErrForeign):
		a.log.Warn("the journal of the last process is replaced", "because", err)
	case err != nil:
		return nil, err
	}
	pause := journal.NewPause(dir, a.opts.serves())
	isPaused, err := pause.IsSet()
	if err != nil {
		a.log.Warn("paused: it cannot be read whether an operator paused the service (ebpf-upgrader resume)", "error", err)
	}
	cfg.Journal, cfg.Saved, cfg.Paused, cfg.KeepPause = file, saved, isPaused, pause.Set
	return func() { _ = file.Close() }, nil
}

// serveAll runs the service, its control socket and what else listens, until one of them or stop ends.
func (a *app) serveAll(ctx, stop context.Context, service *controller.Service, server *control.Server, h *host) error {
	socket, err := control.Listen(a.opts.socketPath())
	if errors.Is(err, control.ErrInUse) {
		return fmt.Errorf("%w: give this one another --socket", err)
	}
	if err != nil {
		return err
	}
	defer func() { _ = socket.Close() }()
	var left behind
	parts := []func(context.Context) error{
		service.Run,
		a.untilStopped(stop, service, h, &left),
		func(ctx context.Context) error { return server.Serve(ctx, socket) },
	}
	if a.opts.metrics != "" {
		public, err := net.Listen("tcp", a.opts.metrics)
		if err != nil {
			return usageError("--metrics-listen %q: %v", a.opts.metrics, err)
		}
		parts = append(parts, func(ctx context.Context) error { return server.ServePublic(ctx, public) })
	}
	// Rights are given up on all threads, one of which may wait for a process for as long as that likes once anybody
	// has been looked at.
	if err := a.giveUpRights(h); err != nil {
		return err
	}
	if err := h.seed(stop); err != nil {
		return err
	}
	a.log.Info("serving", "installs", a.opts.served(), "source", h.source(), "socket", a.opts.socketPath())
	a.tellSystemd("READY=1")
	parts = append(parts, func(ctx context.Context) error { return a.watchdog(ctx, service) })
	err = together(ctx, parts...)
	a.endGate(h, left)
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
func (a *app) serviceConfig(ctx context.Context, h *host, watched *installs, count func(selector.EventKind)) controller.ServiceConfig {
	cfg := controller.ServiceConfig{
		Upgrader:         a.upgrader(h),
		Limits:           a.opts.limits,
		Source:           h,
		Installs:         watched,
		Paths:            a.opts.installPaths,
		ForgetAfter:      a.opts.forgetAfter,
		MaxPerUser:       a.opts.maxPerUser,
		MaxPlacesPerUser: a.opts.maxInstalls,
		ScanEvery:        a.opts.scanEvery,
		Observer:         serviceLog{a.log},
	}
	if a.opts.quiet > 0 {
		cfg.Quiet = quiet.New(h.procfs, a.opts.quiet)
	}
	if h.tracker != nil {
		cfg.Events = events(ctx, h.tracker, count, func(err error) { a.log.Error("the tracker ended", "because", err) })
		cfg.ScanEvery = a.opts.auditEvery
		cfg.Audit = func(ctx context.Context) error { return a.audit(ctx, h.tracker) }
	}
	return cfg
}

// instrument connects the metrics with what is read when they are asked for.
func (a *app) instrument(counts *metrics.Metrics, h *host, watched *installs, service *controller.Service) {
	counts.SetSource(h.source())
	counts.FollowStatus(service.Status)
	counts.FollowWatching(func() metrics.Watching { return metrics.Watching(watched.watching()) })
	counts.FollowGate(h.gateCounts)
	if counters := h.counters(); counters != nil {
		counts.FollowTracker(func() (metrics.Tracker, error) {
			t, err := counters()
			return metrics.Tracker(t), err
		})
	}
}
