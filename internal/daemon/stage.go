// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/install"
	"ebpf-upgrader/internal/launch"
	"ebpf-upgrader/internal/metrics"
	"ebpf-upgrader/internal/stage"
	"ebpf-upgrader/selector"
)

// Staging says which installs have staged files.
type Staging struct {
	// Paths are absolute.
	Paths []string
	// RollsBack says that a release that fails is replaced by the file before it.
	RollsBack bool
	// Fleet decides when a file is put in place; nil: an operator does.
	Fleet *Fleet
}

const (
	// stageEvery is the time between two looks at a rollout under way, and at what could not be done.
	stageEvery = time.Second
	// gateTimeout limits a call of a gate.
	gateTimeout = 10 * time.Second
	// serversKnown is how long after the activation, or the start, servers that name the path are known.
	serversKnown = 5 * time.Second
)

// staging brings staged files into their place. One goroutine, run, does so. The other methods may be called concurrently.
type staging struct {
	cfg  *Config
	gate stage.Gate
	// fleet is the gate where that is one of a fleet, else nil.
	fleet   *FleetGate
	helper  *launch.Helper
	feed    *control.Feed
	counts  *metrics.Metrics
	started time.Time
	// status and servers are those of the controller. credentials are those of a user's processes.
	status      func(context.Context) (api.Status, error)
	servers     func(context.Context) ([]api.ServerStatus, error)
	credentials func(selector.User) []selector.Credentials

	touch touch
	wake  chan struct{}
	mu    sync.Mutex // guards the rest
	// isPoked says that the engine is tried at once.
	isPoked bool
	// paths are in the order of the flags. saved says that the file has what they are.
	paths []*stagedPath
}

// stagedPath is one path. The goroutine of run changes it, with the lock; others only its machine.
type stagedPath struct {
	*stage.Machine
	files    stage.Files
	releases map[string]knownRelease
	// next is the last report of the staged file.
	next     selector.Install
	checked  *api.Preflight
	progress api.Staged
	// isHeld says that the gate has granted a seat since the service started, and not taken it away.
	isHeld bool
	// askAt is when the gate is asked again, and tries how often it could not be reached since. Zero: at once, while the host
	// has a seat or wants one.
	askAt time.Time
	tries int
	// waits is the last answer of the gate as a word, or waitsForEngine; empty: the gate was not asked.
	waits string
	saved stage.Record
}

// startStaging starts the helper while this process has its capabilities. It returns nil where nothing is staged: then no line
// of it runs.
func startStaging(cfg *Config) (*staging, error) {
	if len(cfg.Staging.Paths) == 0 {
		return nil, nil
	}
	s := &staging{cfg: cfg, gate: stage.Manual{}, wake: make(chan struct{}, 1), started: time.Now()}
	if cfg.Staging.Fleet != nil {
		gate, err := cfg.Staging.Fleet.gate(cfg.StateDir)
		if err != nil {
			return nil, err
		}
		s.gate, s.fleet = gate, gate
	}
	kept, err := stage.Load(cfg.StateDir)
	if err != nil {
		return nil, err
	}
	for _, path := range cfg.Staging.Paths {
		if err := stage.Usable(path); err != nil {
			return nil, fmt.Errorf("--stage: %w", err)
		}
		record := stage.Record{Path: path}
		if at := slices.IndexFunc(kept, func(r stage.Record) bool { return r.Path == path }); at >= 0 {
			record = kept[at]
		}
		m := stage.New(record)
		s.paths = append(s.paths, &stagedPath{Machine: m, saved: m.Record, releases: make(map[string]knownRelease)})
	}
	if s.helper, err = launch.Start(); err != nil {
		return nil, marked{fmt.Errorf("--stage: %w: docs/STAGING.md says how to give it that", err), ErrUnavailable}
	}
	return s, nil
}

// connect says what s works with, before run.
func (s *staging) connect(of *service) {
	if s != nil {
		s.feed, s.counts, s.status, s.servers, s.credentials = of.feed, of.counts, of.controller.Status, of.controller.Servers, of.watched.credentials.of
	}
}

// parts are what the service runs for staged files.
func (s *staging) parts(hub *install.Hub) []func(context.Context) error {
	if s == nil {
		return nil
	}
	return []func(context.Context) error{func(ctx context.Context) error { return s.run(ctx, hub) }}
}

// close ends the helper.
func (s *staging) close() {
	if s != nil {
		s.helper.Close()
	}
}

// run goes on with all paths until ctx ends. hub reports changes of the files.
func (s *staging) run(ctx context.Context, hub *install.Hub) error {
	for _, p := range s.paths {
		for _, path := range []string{p.Path, stage.NextPath(p.Path)} {
			defer hub.Watch(install.RootedPath{Path: path}, func(found selector.Install) { s.found(p, found) }).Close()
		}
	}
	for {
		due := s.reach(ctx)
		for _, p := range s.paths {
			for s.step(ctx, p) && ctx.Err() == nil {
			}
			if at := s.due(p); due.IsZero() || !at.IsZero() && at.Before(due) {
				due = at
			}
		}
		if !s.wait(ctx, due) {
			return nil
		}
	}
}

// wait waits for a change, or for the time of the next look, if there is one.
func (s *staging) wait(ctx context.Context, due time.Time) bool {
	var timer <-chan time.Time
	if !due.IsZero() {
		timer = time.After(time.Until(due))
	}
	select {
	case <-s.wake:
	case <-timer:
	case <-ctx.Done():
		return false
	}
	return true
}

func (s *staging) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// found takes a report of the hub.
func (s *staging) found(p *stagedPath, i selector.Install) {
	if i.Path == stage.NextPath(p.Path) {
		s.change(func() { p.next = i })
	}
	s.wakeUp()
}

// due is when a path must be looked at without an event; zero: not at all.
func (s *staging) due(p *stagedPath) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	switch {
	case p.Record != p.saved, p.State == stage.Seated, p.State == stage.Activated, p.State == stage.Baking:
		return now.Add(stageEvery)
	case p.State == stage.Failed && !p.IsRolledBack: // an operator may resume it
		return now.Add(stageEvery)
	case p.Owed != nil || p.State == stage.Wanted:
		return p.askAt
	}
	return time.Time{}
}
