// SPDX-License-Identifier: MIT

// Package controller runs the event loop of the service: events in, reconcile, deliver. [Controller] owns the only mutable
// state, and its goroutine never waits for a process or a file system: what may block runs in workers, and its results come
// back as events. A result counts only if nothing has happened to its process since the work began.
//
// The way of a fact: an event makes a process due (events.go). A worker reads it (inspections.go); the loop judges what was
// read, and the rollout of its install decides (observe.go). In its turn, a member goes to a worker (deliveries.go),
// which pins, reads, judges and signals (package deliver). The exec or exit that follows is the next event.
//
// These rules hold:
//
//   - One signal per server and installed file, again only after the retry time, and only while the server runs the image
//     that it ran when it was signalled. While the delivery to a server is under way, its events wait for the result.
//   - One delivery at a time for a user. For the limits of a rollout, a member counts as signalled while its delivery is under way.
//   - Own process last, at most once, after every other delivery was attempted.
//   - Level, not edge: events only say what to inspect, so a lost event costs time, not correctness.
//   - No user delays another: package budget decides which work a worker does next, and how much of it for each user.
//
// The package does no I/O of its own: it states the interfaces that it needs.
package controller

import (
	"cmp"
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/budget"
	"ebpf-upgrader/internal/deliver"
	"ebpf-upgrader/internal/registry"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/internal/schedule"
	"ebpf-upgrader/selector"
)

// Controller inspects servers when an install changes, when they start, and when the schedule has them due. It signals one
// after the other as their rollouts let it, and follows what becomes of them. Its state belongs to the goroutine of Run; the
// other methods ask that goroutine, and are safe for concurrent use.
type Controller struct {
	*parts
	requests chan func(context.Context)
	// stopped is closed when Run ends.
	stopped chan struct{}
	// steering orders the requests of operators to pause and to resume, with what is kept of them.
	steering sync.Mutex
}

// parts are what the controller is made of. They belong to the goroutine of Run.
type parts struct {
	cfg     Config
	deliver deliver.Config
	inbox   *inbox

	timers      *timers
	registry    *registry.Registry
	exits       *exitWatch
	planner     *planner
	rollouts    *rollouts
	inspections *inspections
	reconciler  *reconciler
	surveys     *surveys
	deliveries  *deliveries
}

// reconciler takes events, inspections and installs, and hands them to the registry and the rollouts.
type reconciler struct {
	*parts
	// overAt is when a user was last reported to be over a limit.
	overAt map[selector.User]time.Time
}

// The bounds of the work that is done for a user. An inspection takes some 50 us as a rule, on a machine without time for it
// 1 ms, and 0.3 s at most: the burst lasts for all processes that a user may have. A burst delays no other user, for it has
// few of the workers.
var (
	surveyLimit = budget.Limit{Factor: 10, Burst: 4 * time.Second}
	// A thousand servers that start are polled until they are armed. They need the processors more than the polls.
	pollLimit = budget.Limit{Factor: 10, Burst: 250 * time.Millisecond}
	fileLimit = budget.Limit{Factor: 10, Burst: 4 * time.Second, Free: 10 * time.Millisecond}
)

// New returns a Controller that has yet to Run.
func New(cfg Config) *Controller {
	if cfg.Journal == nil {
		cfg.Journal = noJournal{}
	}
	if cfg.Acted == nil {
		cfg.Acted = func(api.Act) {}
	}
	cfg.ForgetAfter = cmp.Or(cfg.ForgetAfter, DefaultForgetAfter)
	cfg.MaxInstallsPerUser = cmp.Or(cfg.MaxInstallsPerUser, DefaultMaxInstallsPerUser)
	c := &Controller{
		parts: &parts{
			cfg: cfg, deliver: cfg.Deliverer.Config(), inbox: &inbox{ready: make(chan struct{}, 1)},
			exits: &exitWatch{isNeeded: cfg.Events == nil, exits: make(chan selector.Event), watched: make(map[selector.PID]context.CancelFunc)},
		},
		requests: make(chan func(context.Context)), stopped: make(chan struct{}),
	}
	c.reconciler = &reconciler{c.parts, make(map[selector.User]time.Time)}
	c.surveys = &surveys{
		parts: c.parts, byInstall: make(map[*registry.Install]*survey),
		lossThrottle: schedule.Throttle{Factor: resyncFactor, Min: minLossPause}, scanThrottle: schedule.Throttle{Factor: resyncFactor},
	}
	c.timers = schedule.NewQueue[task](schedule.Backoff{
		First: firstInspection, Max: slowestInspection, Patience: cfg.Limits.ConfirmTimeout,
	})
	c.registry = registry.New(registry.Config{
		Paths: cfg.Paths, View: cfg.View, MaxProcesses: cfg.MaxPerUser, MaxInstalls: cfg.MaxInstallsPerUser, ForgetAfter: cfg.ForgetAfter,
	}, time.Now())
	c.planner = &planner{timers: c.timers, limits: cfg.Limits, registry: c.registry, exits: c.exits, quiet: cfg.Quiet}
	held, deferred := &holds{byUser: make(map[selector.User]int)}, &holds{byUser: make(map[selector.User]int)}
	c.rollouts = &rollouts{
		cfg:      rollout.Config{Limits: cfg.Limits, BuildOf: cfg.BuildOf, Signal: c.deliver.Signal, SeesExec: cfg.Events != nil, Self: c.deliver.Self},
		registry: c.registry, traits: make(traits), holds: held, deferred: deferred, planner: c.planner, observer: cfg.Observer,
		persist: &persister{journal: cfg.Journal, trouble: cfg.Observer.Trouble, timers: c.timers},
		byImage: make(map[selector.Image]*attached), at: make(map[*registry.Install]*attached),
		early: make(map[*registry.Install][]rollout.Death), touched: make(map[*attached]bool), pauses: cfg.Pauses,
	}
	held.released, deferred.released = c.rollouts.touchAll, c.rollouts.touchAll
	cores := runtime.GOMAXPROCS(0)
	c.inspections = &inspections{
		deliverer: cfg.Deliverer, registry: c.registry, holds: held, deferred: deferred, inbox: c.inbox,
		readers: budget.NewQueue(budget.QueueConfig{Workers: 4 * cores, PerUser: cores, Limit: surveyLimit}),
		pollers: budget.NewQueue(budget.QueueConfig{Workers: 4 * cores, PerUser: cores, Limit: pollLimit}),
		owners:  budget.NewQueue(budget.QueueConfig{Workers: 1, PerUser: 1}),
		pending: make(map[selector.PID]*inspection), admitted: make(map[selector.User]int), read: c.reconciler.read, owned: c.reconciler.owned,
	}
	c.deliveries = &deliveries{
		parts:   c.parts,
		checks:  budget.NewQueue(budget.QueueConfig{Workers: 2 * cores, PerUser: 2, Limit: fileLimit}),
		senders: budget.NewQueue(budget.QueueConfig{Workers: 4 * cores, PerUser: 1, Limit: fileLimit}),
		flights: make(map[selector.PID]*flight), at: make(map[*registry.Install]*installFlights), turns: turns{last: make(map[uint32]uint64)},
		walks: schedule.Throttle{Factor: walkFactor},
	}
	return c
}

// ErrEnded means that an input of the controller came to its end while it ran.
var ErrEnded = errors.New("input ended")

// idleFor is how long the loop waits at most.
const idleFor = 24 * time.Hour

// Run serves until ctx ends, and then returns nil after the deliveries that are under way. It fails with [ErrEnded] when the
// installs or the events end by themselves.
func (c *Controller) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer close(c.stopped)
	defer c.stop(ctx, cancel)
	c.start(ctx)
	for {
		c.answer(ctx)
		now := time.Now()
		next := earlier(c.deliveries.deliverDue(now), earlier(c.timers.Next(), now.Add(idleFor)))
		timer := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case u, isOpen := <-c.cfg.Installs.Updates():
			if !isOpen {
				return ended(ctx)
			}
			c.reconciler.updated(ctx, u)
		case e, isOpen := <-c.cfg.Events:
			if !isOpen {
				return ended(ctx)
			}
			c.reconciler.handle(ctx, e)
		case e := <-c.exits.exits:
			c.reconciler.handle(ctx, e)
		case request := <-c.requests:
			request(ctx)
		case <-c.inbox.ready:
			c.takeResults(ctx)
		case <-timer.C:
			c.runDue(ctx)
		}
		timer.Stop()
		c.rollouts.tell()
	}
}

// ended tells the end of an input from the end of everything.
func ended(ctx context.Context) error {
	if ctx.Err() == nil {
		return ErrEnded
	}
	return nil
}

// start takes up what an earlier process left, and begins to watch. Where the servers name the installs, a resync finds them.
func (c *Controller) start(ctx context.Context) {
	now := time.Now()
	for _, i := range c.registry.Fixed() {
		c.cfg.Installs.Watch(i.Key)
	}
	c.restore(ctx)
	// A server that forks while the source is seeded may leave a child that is in neither the seed nor the events. It counts
	// as a server once it has stayed for ForkAge, and is found then.
	c.timers.Set(task{kind: taskScan}, now.Add(min(selector.ForkAge, cmp.Or(c.cfg.ScanEvery, selector.ForkAge))))
	if c.registry.Learns() {
		c.surveys.resync(ctx, resyncRequest{reason: api.ReasonInstall, holds: true})
	}
}

// stop waits for the workers, and takes the outcome of their deliveries.
func (c *Controller) stop(ctx context.Context, cancel context.CancelFunc) {
	cancel()
	c.deliveries.close()
	c.inspections.close()
	c.surveys.lister.Wait()
	c.takeResults(ctx)
	c.rollouts.tell()
}

// answer lets one request go before everything else, so that it waits for one step at most. It is one only: requests without
// a pause must not keep the controller from its work.
func (c *Controller) answer(ctx context.Context) {
	select {
	case request := <-c.requests:
		request(ctx)
		c.rollouts.tell()
	default:
	}
}

func (c *Controller) takeResults(ctx context.Context) {
	for _, apply := range c.inbox.take() {
		apply(ctx)
	}
}

// runDue does what the schedule has for now.
func (c *Controller) runDue(ctx context.Context) {
	now := time.Now()
	var pids []selector.PID
	for _, t := range c.timers.PopDue(now) {
		switch t.kind {
		case taskInspect:
			pids = append(pids, t.pid)
		case taskRecheck, taskForget:
			if i := c.registry.Install(t.key); i != nil && t.kind == taskForget {
				c.reconciler.forgetUnnamed(i, now)
			} else if i != nil {
				c.surveys.inspectMembers(ctx, i, api.ReasonRetry, now)
			}
		case taskOrphans:
			c.rollouts.dropOrphans()
		case taskFlush:
			c.rollouts.persist.flush(now)
		default:
			c.surveys.runResync(ctx, t.kind, now)
		}
	}
	c.surveys.inspectDue(pids, now)
}
