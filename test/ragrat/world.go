// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"ebpf-upgrader/test/ragrat/outcome"
)

// world is one round of a scenario: users, their worktrees, sessions in them, and perhaps a service.
type world struct {
	scenario
	pace
	dir      string
	users    []*user
	sessions []*session
	service  *service
	// installed are the paths of the files, one for each user that has one.
	installed []string
	// landed is when the new files stood there, and fresh which they are.
	landed time.Time
	fresh  map[string]image
}

// newWorld makes everything but the sessions. The caller must close it, also after an error.
func newWorld(ctx context.Context, s scenario, p pace, program, binary string, mode outcome.Mode) (*world, error) {
	w := &world{scenario: s, pace: p, fresh: make(map[string]image)}
	var err error
	if w.dir, err = os.MkdirTemp("", "ragrat-"); err != nil {
		return w, err
	}
	if err := os.Chmod(w.dir, 0o755); err != nil {
		return w, err
	}
	if err := w.addUsers(binary); err != nil {
		return w, err
	}
	if mode == outcome.Alone {
		return w, nil
	}
	if w.service, err = newService(program, filepath.Join(w.dir, "service"), mode, w.users); err != nil {
		return w, err
	}
	return w, w.service.start(ctx, p)
}

func (w *world) addUsers(binary string) error {
	text, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	shared := ""
	if w.sharedFile {
		shared = filepath.Join(w.dir, "bin", "rag-rat")
		if err := os.Mkdir(filepath.Dir(shared), 0o755); err != nil {
			return err
		}
		w.installed = []string{shared}
		if err := put(shared, text, 0); err != nil {
			return err
		}
	}
	for i := range max(w.scenario.users, 1) {
		u, err := newUser(w.dir, i, shared)
		if err != nil {
			return err
		}
		w.users = append(w.users, u)
		if shared != "" {
			continue
		}
		w.installed = append(w.installed, u.installed)
		if err := put(u.installed, text, u.uid); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) close() error {
	var stopped sync.WaitGroup
	for _, s := range w.sessions {
		if s != nil {
			stopped.Go(s.stop)
		}
	}
	stopped.Wait()
	var err error
	if w.service != nil {
		err = w.service.end(syscall.SIGTERM, w.pace)
	}
	return errors.Join(err, os.RemoveAll(w.dir))
}

// people makes the worktrees and starts the sessions, until each is ready for an upgrade.
func (w *world) people(ctx context.Context) error {
	var dirs []string
	for n := range max(w.worktrees, 1) {
		for _, u := range w.users {
			dir, err := u.worktree(ctx, fmt.Sprintf("worktree-%d", n), w.index)
			if err != nil {
				return err
			}
			dirs = append(dirs, dir)
		}
	}
	w.sessions = make([]*session, sessions)
	for _, turn := range []func(i int, k kind) bool{
		// The one that starts first in a worktree is elected to signal the others.
		func(i int, k kind) bool { return i < len(dirs) && k == usual },
		func(i int, k kind) bool { return i >= len(dirs) && k == usual },
		// One that lacks something and is elected would signal none.
		func(_ int, k kind) bool { return k != usual },
	} {
		if err := w.start(dirs, turn); err != nil {
			return err
		}
		if err := errors.Join(w.ready(ctx), w.elected(ctx)); err != nil {
			return err
		}
	}
	// The servers' own trigger gathers events for that long. Those of the starts are not of the install.
	return sleep(ctx, w.gathers)
}

// start starts the sessions whose turn it is. Each has its place among all, so that worktrees and users have as many.
func (w *world) start(dirs []string, turn func(i int, k kind) bool) error {
	for i, k := range w.kinds() {
		if !turn(i, k) {
			continue
		}
		u, dir := w.users[i%len(w.users)], dirs[i%len(dirs)]
		if k == unconfigured {
			dir = u.home
		}
		var err error
		if w.sessions[i], err = u.start(dir, k); err != nil {
			return err
		}
	}
	return nil
}

// ready waits until each session that has begun has been answered.
func (w *world) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, w.patience)
	defer cancel()
	errs := make([]error, len(w.sessions))
	var all sync.WaitGroup
	for i, s := range w.sessions {
		if s != nil && s.kind != uninitialized && s.client == nil {
			all.Go(func() { errs[i] = w.begin(ctx, s) })
		}
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, s := range w.sessions {
		if s == nil {
			continue
		}
		var err error
		if s.last, err = imageAt(fmt.Sprintf("/proc/%d/exe", s.pid())); err != nil && !s.gone() {
			return err
		}
	}
	return nil
}

// begin initializes the session, and waits until a call was answered.
func (w *world) begin(ctx context.Context, s *session) error {
	if err := s.connect(ctx); err != nil {
		if s.kind != unconfigured {
			return err
		}
		select { // some versions end without a configuration
		case <-s.ended:
			return nil
		case <-ctx.Done():
			return err
		}
	}
	if s.kind != usual {
		return nil
	}
	for { // ten that start at a time find the index locked
		a, err := s.call(ctx)
		if a == answered {
			return nil
		}
		if s.gone() || sleep(ctx, w.pause) != nil {
			return fmt.Errorf("the first call of %d: %w", s.pid(), err)
		}
	}
}

// elected waits until each worktree with a usual session has a server that watches the folder of the installed
// file, and until the usual sessions are armed again.
func (w *world) elected(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, w.patience)
	defer cancel()
	for _, s := range w.sessions {
		if s == nil || s.kind != usual || s.gone() {
			continue
		}
		dir, err := imageAt(filepath.Dir(s.installed))
		if err != nil {
			return err
		}
		if err := until(ctx, fmt.Sprintf("server %d has no handler for SIGUSR1", s.pid()), func() bool {
			return s.gone() || dispositionOf(s.pid()) == caught
		}); err != nil {
			return err
		}
		if err := until(ctx, fmt.Sprintf("no server in %s watches %s", s.cmd.Dir, filepath.Dir(s.installed)), func() bool {
			return s.gone() || slices.ContainsFunc(w.sessions, func(other *session) bool {
				return other != nil && other.cmd.Dir == s.cmd.Dir && watches(other.pid(), dir)
			})
		}); err != nil {
			return err
		}
	}
	return nil
}

// until waits for something, and says what did not happen.
func until(ctx context.Context, what string, happened func() bool) error {
	for !happened() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}
