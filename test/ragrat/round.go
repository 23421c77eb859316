// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/test/ragrat/agents"
	"ebpf-upgrader/test/ragrat/outcome"
)

// versions are the binaries of a scenario: the one that runs, and the newer one, which not every scenario has.
type versions struct{ from, to, fromPath, toPath string }

// installed is what lands, in a word: a version, or what a binary does instead.
func (v versions) installed(s scenario) string {
	if s.lands.good() {
		return v.to
	}
	return string(s.lands)
}

// play plays a scenario some times: with the same sessions where they can be upgraded again, else with others.
func (c *command) play(ctx context.Context, s scenario, v versions, mode outcome.Mode) ([]outcome.Result, error) {
	worlds, rounds := c.rounds, 1
	if s.lands == sameVersion && s.event == "" {
		worlds, rounds = 1, c.rounds
	}
	results := c.kept.of(s.name, mode, v.from, v.installed(s))
	if len(results) > 0 {
		return results, nil
	}
	for range worlds {
		some, err := c.playIn(ctx, s, v, mode, rounds)
		results = append(results, some...)
		if err != nil {
			return results, err
		}
	}
	return results, nil
}

// playIn plays the rounds of one world.
func (c *command) playIn(ctx context.Context, s scenario, v versions, mode outcome.Mode, rounds int) (results []outcome.Result, err error) {
	w, err := newWorld(ctx, s, c.pace, c.program, v.fromPath, mode)
	defer func() { err = errors.Join(err, w.close()) }()
	if err != nil {
		return nil, err
	}
	if err := w.people(ctx); err != nil {
		return nil, err
	}
	text, err := s.lands.bytes(v.fromPath, v.toPath)
	if err != nil {
		return nil, err
	}
	for range rounds {
		r, err := w.round(ctx, text)
		if err != nil {
			return results, err
		}
		r.Mode, r.From, r.To = mode, v.from, v.installed(s)
		c.say(r)
		if len(outcome.Broken([]outcome.Result{r})) > 0 && w.service != nil {
			w.explain(ctx)
		}
		results = append(results, r)
		if err := c.kept.add(r); err != nil {
			return results, err
		}
	}
	return results, nil
}

// round has agents call while a file lands, and counts.
func (w *world) round(ctx context.Context, text []byte) (r outcome.Result, err error) {
	if err := w.elected(ctx); err != nil {
		return r, err
	}
	calls, stop := context.WithCancel(ctx)
	defer stop()
	var callers sync.WaitGroup
	for _, s := range w.sessions {
		s.begins()
		if s.kind == usual {
			callers.Go(func() { s.callOn(calls, w.pace) })
		}
	}
	if err := w.land(ctx, text); err != nil {
		return r, err
	}
	if err := w.watch(ctx); err != nil {
		return r, err
	}
	stop()
	callers.Wait()
	return w.result(ctx), nil
}

// begins forgets what was counted in the round before. A server that has ended by now is not part of this one.
func (s *session) begins() {
	s.absent = s.Gone()
	s.execAt = time.Time{}
	for _, count := range []*atomic.Int64{&s.calls, &s.lost, &s.refused} {
		count.Store(0)
	}
}

// land installs the file for each user, while what is to happen to the service happens.
func (w *world) land(ctx context.Context, text []byte) error {
	if err := w.before(ctx); err != nil {
		return err
	}
	w.landed = time.Now()
	for _, path := range w.installed {
		uid := uint32(0)
		for _, u := range w.users {
			if u.Installed == path && !w.sharedFile {
				uid = u.UID
			}
		}
		if err := agents.Put(path, text, uid); err != nil {
			return err
		}
		fresh, err := agents.ImageAt(path)
		if err != nil {
			return err
		}
		w.fresh[path] = fresh
	}
	return nil
}

func (w *world) before(ctx context.Context) error {
	if w.service == nil || w.event != paused {
		return nil
	}
	return w.service.Client().Pause(ctx)
}

// after is what happens to the service once the file has landed.
func (w *world) after(ctx context.Context) error {
	if w.service == nil || w.event == "" {
		return nil
	}
	if w.event == paused {
		if err := sleep(ctx, 3*time.Second); err != nil {
			return err
		}
		return w.service.Client().Resume(ctx)
	}
	if err := sleep(ctx, 200*time.Millisecond); err != nil {
		return err
	}
	sig := syscall.SIGTERM
	if w.event == killed {
		sig = syscall.SIGKILL
	}
	if err := w.service.End(sig); err != nil {
		return err
	}
	return w.service.Start(ctx)
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// decided is how long a service may take to come to the end of a rollout although nothing happens: a server that hangs
// halts its group after two minutes.
const decided = rollout.ArmTimeout + 20*time.Second

// watch looks at the servers until nothing has happened for long enough.
func (w *world) watch(ctx context.Context) error {
	acted := make(chan error, 1)
	go func() { acted <- w.after(ctx) }()
	last, acting := time.Now(), true
	for acting || time.Since(last) < w.enough() || w.unfinished(ctx) && time.Since(last) < decided {
		select {
		case err := <-acted:
			if err != nil {
				return err
			}
			last, acting = time.Now(), false
		default:
		}
		for _, s := range w.sessions {
			if s.look() {
				last = time.Now()
			}
		}
		if err := sleep(ctx, w.look); err != nil {
			return err
		}
	}
	return nil
}

// enough is how long nothing must happen until nothing will. Where every server runs the file or has ended, a
// signal that was sent late is all that can come.
func (w *world) enough() time.Duration {
	for _, s := range w.sessions {
		if s.kind == usual && !s.Gone() && s.last != w.fresh[s.Installed] {
			return w.quiet
		}
	}
	return w.late
}

// unfinished says that the service is in the middle of a rollout, and servers are left.
func (w *world) unfinished(ctx context.Context) bool {
	if w.service == nil || w.enough() == w.late {
		return false
	}
	phase := w.service.Phase(ctx, w.installed)
	return strings.Contains(phase, "canary") || strings.Contains(phase, "rolling")
}
