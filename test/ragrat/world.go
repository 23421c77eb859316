// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"ebpf-upgrader/test/ragrat/agents"
	"ebpf-upgrader/test/ragrat/outcome"
)

// world is one round of a scenario: users, their worktrees, sessions in them, and perhaps a service.
type world struct {
	scenario
	pace
	dir      string
	users    []*agents.User
	sessions []*session
	service  *agents.Service
	// installed are the paths of the files, one for each user that has one.
	installed []string
	// landed is when the new files stood there, and fresh which they are.
	landed time.Time
	fresh  map[string]agents.Image
}

// newWorld makes everything but the sessions. The caller must close it, also after an error.
func newWorld(ctx context.Context, s scenario, p pace, program, binary string, mode outcome.Mode) (*world, error) {
	w := &world{scenario: s, pace: p, fresh: make(map[string]agents.Image)}
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
	flags, err := modeFlags(program, mode)
	if err != nil {
		return w, err
	}
	if w.standIn {
		flags = append(flags, "--settle", "200ms", "--group-hold", "300ms", "--hold", "2s", "--quiet-within", "5s")
	}
	flags = append(flags, s.flags...)
	if w.service, err = agents.NewService(program, filepath.Join(w.dir, "service"), p.patience, flags, w.users); err != nil {
		return w, err
	}
	return w, w.service.Start(ctx)
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
		if err := agents.Put(shared, text, 0); err != nil {
			return err
		}
	}
	for i := range max(w.scenario.users, 1) {
		u, err := agents.NewUser(w.dir, w.firstUser+i, shared)
		if err != nil {
			return err
		}
		u.Prepare = w.prepare
		w.users = append(w.users, u)
		if shared != "" {
			continue
		}
		w.installed = append(w.installed, u.Installed)
		if err := agents.Put(u.Installed, text, u.UID); err != nil {
			return err
		}
	}
	return nil
}

// prepare is for the command of each server.
func (w *world) prepare(server *exec.Cmd) {
	if w.ownData {
		server.Env = append(server.Env, "RAG_RAT_DATA_DIR="+filepath.Join(server.Dir, ".rag-rat", "data"))
	}
	if w.standIn {
		refuse(server)
	}
}

func (w *world) close() error {
	var stopped sync.WaitGroup
	for _, s := range w.sessions {
		if s != nil {
			stopped.Go(s.Stop)
		}
	}
	stopped.Wait()
	var err error
	if w.service != nil {
		err = w.service.End(syscall.SIGTERM)
	}
	return errors.Join(err, os.RemoveAll(w.dir))
}

// people makes the worktrees and starts the sessions, until each is ready for an upgrade.
func (w *world) people(ctx context.Context) error {
	var dirs []string
	for n := range max(w.worktrees, 1) {
		for _, u := range w.users {
			dir, err := u.Worktree(ctx, fmt.Sprintf("worktree-%d", n), w.index)
			if err != nil {
				return err
			}
			dirs = append(dirs, dir)
		}
	}
	w.sessions = make([]*session, len(w.kinds()))
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
			dir = u.Home
		}
		var err error
		if w.sessions[i], err = start(u, dir, k); err != nil {
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
		if s != nil && s.kind != uninitialized && !s.Connected() {
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
		if s.last, err = agents.ImageAt(fmt.Sprintf("/proc/%d/exe", s.PID())); err != nil && !s.Gone() {
			return err
		}
	}
	return nil
}

// begin initializes the session, and waits until a call was answered.
func (w *world) begin(ctx context.Context, s *session) error {
	if err := s.Connect(ctx); err != nil {
		if s.kind != unconfigured {
			return err
		}
		select { // some versions end without a configuration
		case <-s.Ended:
			return nil
		case <-ctx.Done():
			return err
		}
	}
	if s.kind != usual {
		return nil
	}
	for { // ten that start at a time find the index locked
		a, err := s.Call(ctx)
		if a == agents.Answered {
			return nil
		}
		if s.Gone() || sleep(ctx, w.pause) != nil {
			return fmt.Errorf("the first call of %d: %w", s.PID(), err)
		}
	}
}

// elected waits until each worktree with a usual session has a server that watches the folder of the installed
// file, and until the usual sessions are armed again.
func (w *world) elected(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, w.patience)
	defer cancel()
	for _, s := range w.sessions {
		if s == nil || s.kind != usual || s.Gone() {
			continue
		}
		dir, err := agents.ImageAt(filepath.Dir(s.Installed))
		if err != nil {
			return err
		}
		if err := until(ctx, fmt.Sprintf("server %d has no handler for SIGUSR1", s.PID()), func() bool {
			return s.Gone() || agents.DispositionOf(s.PID()) == agents.Caught
		}); err != nil {
			return err
		}
		if err := until(ctx, fmt.Sprintf("no server in %s watches %s", s.Dir, filepath.Dir(s.Installed)), func() bool {
			return s.Gone() || slices.ContainsFunc(w.sessions, func(other *session) bool {
				return other != nil && other.Dir == s.Dir && agents.Watches(other.PID(), dir)
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
