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
	"sync"
	"time"

	"ebpf-upgrader/test/poll"
	"ebpf-upgrader/test/ragrat/agents"
	"ebpf-upgrader/test/ragrat/outcome"
)

// trial is a scenario that is played: users, their worktrees and sessions, and a service unless the mode is alone.
type trial struct {
	agents.Host
	scenario
	pace
	sessions []*session
	// installedAt is the time of the last install, and images are the files that it installed, by their paths.
	installedAt time.Time
	images      map[string]agents.Image
}

// newTrial makes everything but the sessions. The caller must close it, also after an error.
func newTrial(ctx context.Context, s scenario, p pace, program, binary string, mode outcome.Mode) (*trial, error) {
	t := &trial{scenario: s, pace: p, images: make(map[string]agents.Image)}
	var err error
	if t.Host, err = agents.NewHost("ragrat-"); err != nil {
		return t, err
	}
	if err := t.addUsers(binary); err != nil || mode == outcome.Alone {
		return t, err
	}
	flags, err := modeFlags(program, mode)
	if err != nil {
		return t, err
	}
	if t.standIn {
		flags = append(flags, "--settle", "200ms", "--group-hold", "300ms", "--hold", "2s", "--quiet-within", "5s")
	}
	return t, t.Serve(ctx, program, p.patience, append(flags, s.flags...))
}

func (t *trial) addUsers(binary string) error {
	text, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	shared := ""
	if t.sharedFile { // it belongs to root
		shared = t.SharedFile()
		if err := errors.Join(os.Mkdir(filepath.Dir(shared), 0o755), agents.Put(shared, text, 0)); err != nil {
			return err
		}
	}
	for i := range max(t.users, 1) {
		u, err := t.AddUser(t.firstUser+i, shared, text)
		if err != nil {
			return err
		}
		u.Prepare = t.prepareServer
	}
	return nil
}

// prepareServer changes the command of each server.
func (t *trial) prepareServer(server *exec.Cmd) {
	if t.ownData {
		server.Env = append(server.Env, "RAG_RAT_DATA_DIR="+filepath.Join(server.Dir, ".rag-rat", "data"))
	}
	if t.standIn {
		refuse(server)
	}
}

func (t *trial) close() error {
	agents.StopAll(started(t.sessions, func(*session) bool { return true }))
	return t.Close()
}

// started returns the sessions that have been started and that are wanted.
func started(all []*session, wanted func(*session) bool) []*agents.Session {
	var found []*agents.Session
	for _, s := range all {
		if s != nil && wanted(s) {
			found = append(found, s.Session)
		}
	}
	return found
}

// startSessions makes the worktrees and starts the sessions, until each is ready for an upgrade.
func (t *trial) startSessions(ctx context.Context) error {
	var dirs []string
	for n := range max(t.worktrees, 1) {
		for _, u := range t.Users {
			dir, err := u.Worktree(ctx, fmt.Sprintf("worktree-%d", n), t.index)
			if err != nil {
				return err
			}
			dirs = append(dirs, dir)
		}
	}
	t.sessions = make([]*session, len(t.kinds()))
	for _, inTurn := range []func(i int, k kind) bool{
		// The server that starts first in a worktree is elected to signal the others.
		func(i int, k kind) bool { return i < len(dirs) && k == usual },
		func(i int, k kind) bool { return i >= len(dirs) && k == usual },
		// These come last: a server that lacks something would signal none if it were elected.
		func(_ int, k kind) bool { return k != usual },
	} {
		if err := t.start(dirs, inTurn); err != nil {
			return err
		}
		if err := errors.Join(t.connect(ctx), t.awaitReady(ctx)); err != nil {
			return err
		}
	}
	// The servers' own trigger must not take the events of the starts for those of the install.
	return poll.Sleep(ctx, t.gathers)
}

// start starts the sessions in turn. Each has a fixed index, so that worktrees and users have equal numbers.
func (t *trial) start(dirs []string, inTurn func(i int, k kind) bool) error {
	for i, k := range t.kinds() {
		if !inTurn(i, k) {
			continue
		}
		u, dir := t.Users[i%len(t.Users)], dirs[i%len(dirs)]
		if k == unconfigured {
			dir = u.Home
		}
		var err error
		if t.sessions[i], err = start(u, dir, k, t.pace); err != nil {
			return err
		}
	}
	return nil
}

// connect initializes each new session, waits for its first answer, and notes the image of its server.
func (t *trial) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, t.patience)
	defer cancel()
	errs := make([]error, len(t.sessions))
	var all sync.WaitGroup
	for i, s := range t.sessions {
		if s != nil && s.kind != uninitialized && !s.Connected() {
			all.Go(func() { errs[i] = t.connectSession(ctx, s) })
		}
	}
	all.Wait()
	for _, s := range t.sessions {
		if s == nil {
			continue
		}
		image, err := s.Image()
		if err != nil && !s.Gone() {
			errs = append(errs, err)
		}
		s.image = image
	}
	return errors.Join(errs...)
}

func (t *trial) connectSession(ctx context.Context, s *session) error {
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
	return s.AwaitAnswer(ctx, t.pause)
}

// awaitReady waits until each usual server is armed, and until each worktree with one has an elected server.
func (t *trial) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, t.patience)
	defer cancel()
	upgradable := started(t.sessions, func(s *session) bool { return s.kind == usual })
	all := started(t.sessions, func(*session) bool { return true })
	return poll.Until(ctx, 50*time.Millisecond, func() string {
		if missing := agents.NotArmed(upgradable); missing != "" {
			return missing
		}
		return agents.NotElected(upgradable, all)
	})
}
