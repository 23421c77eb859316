// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"time"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/test/poll"
	"ebpf-upgrader/test/ragrat/agents"
	"ebpf-upgrader/test/ragrat/outcome"
)

// versions are the binaries of a scenario: the one that runs first, and a newer one if the scenario needs it.
type versions struct{ from, to, fromPath, toPath string }

// installed names what a scenario installs: a version, or what the binary does instead.
func (v versions) installed(s scenario) string {
	if s.installs.good() {
		return v.to
	}
	return string(s.installs)
}

// play plays the rounds of a scenario, unless the store has results of it. The rounds share their sessions where the same
// sessions can be upgraded again.
func (c *command) play(ctx context.Context, s scenario, v versions, mode outcome.Mode) ([]outcome.Result, error) {
	trials, rounds := c.rounds, 1
	if s.installs == sameVersion && s.event == "" {
		trials, rounds = 1, c.rounds
	}
	var results []outcome.Result
	for _, r := range c.results.Results {
		if r.Scenario == s.name && r.Mode == mode && r.From == v.from && r.To == v.installed(s) {
			results = append(results, r)
		}
	}
	if len(results) > 0 {
		return results, nil
	}
	for range trials {
		some, err := c.playTrial(ctx, s, v, mode, rounds)
		results = append(results, some...)
		if err != nil {
			return results, err
		}
	}
	return results, nil
}

func (c *command) playTrial(ctx context.Context, s scenario, v versions, mode outcome.Mode, rounds int) (results []outcome.Result, err error) {
	t, err := newTrial(ctx, s, c.pace, c.program, v.fromPath, mode)
	defer func() { err = errors.Join(err, t.close()) }()
	if err != nil {
		return nil, err
	}
	if err := t.startSessions(ctx); err != nil {
		return nil, err
	}
	text, err := s.installs.bytes(v.fromPath, v.toPath)
	if err != nil {
		return nil, err
	}
	for range rounds {
		r, err := t.round(ctx, text)
		if err != nil {
			return results, err
		}
		r.Mode, r.From, r.To = mode, v.from, v.installed(s)
		c.print(r)
		if len(outcome.Broken([]outcome.Result{r})) > 0 && t.Service != nil {
			t.explain(ctx)
		}
		results = append(results, r)
		if err := c.results.Add(r); err != nil {
			return results, err
		}
	}
	return results, nil
}

// round installs a file while the agents call, and counts.
func (t *trial) round(ctx context.Context, text []byte) (r outcome.Result, err error) {
	if err := t.awaitReady(ctx); err != nil {
		return r, err
	}
	calls, stop := context.WithCancel(ctx)
	defer stop()
	var callers sync.WaitGroup
	for _, s := range t.sessions {
		s.beginRound()
		if s.kind == usual {
			callers.Go(func() { s.CallUntil(calls) })
		}
	}
	if t.Service != nil && t.event == paused {
		if err := t.Service.Client().Pause(ctx); err != nil {
			return r, err
		}
	}
	if err := t.install(text); err != nil {
		return r, err
	}
	if err := t.awaitEnd(ctx); err != nil {
		return r, err
	}
	stop()
	callers.Wait()
	return t.result(ctx), nil
}

// install installs the file for each user.
func (t *trial) install(text []byte) error {
	t.installedAt = time.Now()
	for i, path := range t.Installed() {
		uid := t.Users[i].UID
		if t.sharedFile {
			uid = 0
		}
		if err := agents.Put(path, text, uid); err != nil {
			return err
		}
		image, err := agents.ImageAt(path)
		if err != nil {
			return err
		}
		t.images[path] = image
	}
	return nil
}

// disturb does to the service what the scenario's event says, after the install.
func (t *trial) disturb(ctx context.Context) error {
	if t.Service == nil || t.event == "" {
		return nil
	}
	if t.event == paused {
		if err := poll.Sleep(ctx, 3*time.Second); err != nil {
			return err
		}
		return t.Service.Client().Resume(ctx)
	}
	if err := poll.Sleep(ctx, 200*time.Millisecond); err != nil {
		return err
	}
	sig := syscall.SIGTERM
	if t.event == killed {
		sig = syscall.SIGKILL
	}
	if err := t.Service.End(sig); err != nil {
		return err
	}
	return t.Service.Start(ctx)
}

// longestPause is how long a rollout may stand still before it ends: a server that is not armed by then halts its group.
var longestPause = rollout.DefaultLimits().ArmTimeout + 20*time.Second

// awaitEnd observes the servers until nothing has happened for long enough.
func (t *trial) awaitEnd(ctx context.Context) error {
	disturbed := make(chan error, 1)
	go func() { disturbed <- t.disturb(ctx) }()
	last, disturbing := time.Now(), true
	for disturbing || time.Since(last) < t.quietTime() || t.unfinished(ctx) && time.Since(last) < longestPause {
		select {
		case err := <-disturbed:
			if err != nil {
				return err
			}
			last, disturbing = time.Now(), false
		default:
		}
		for _, s := range t.sessions {
			if s.observe() {
				last = time.Now()
			}
		}
		if err := poll.Sleep(ctx, t.poll); err != nil {
			return err
		}
	}
	return nil
}

// quietTime is how long nothing may happen until nothing will. Where every server runs the file or has ended, only a
// signal that was sent late can follow.
func (t *trial) quietTime() time.Duration {
	if t.someOutdated() {
		return t.quiet
	}
	return t.late
}

func (t *trial) someOutdated() bool {
	for _, s := range t.sessions {
		if s.kind == usual && !s.Gone() && !t.upgraded(s) {
			return true
		}
	}
	return false
}

// unfinished reports whether the service is in the middle of a rollout that can still upgrade a server.
func (t *trial) unfinished(ctx context.Context) bool { return t.someOutdated() && t.RollingOut(ctx) }
