// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"ebpf-upgrader/test/ragrat/agents"
	"ebpf-upgrader/test/ragrat/outcome"
)

// states reads what servers of a version do with SIGUSR1 before and after initialize, with and without a
// configuration.
func (c *command) states(ctx context.Context, version, binary string) ([]outcome.State, error) {
	dir, err := os.MkdirTemp("", "ragrat-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	u, err := c.alone(dir, binary)
	if err != nil {
		return nil, err
	}
	worktree, err := u.Worktree(ctx, "worktree", agents.OwnIndex)
	if err != nil {
		return nil, err
	}
	var states []outcome.State
	for _, where := range []struct {
		name, dir string
	}{{"with a configuration", worktree}, {"without", u.Home}} {
		before, after, err := c.stateIn(ctx, u, where.dir)
		if err != nil {
			return nil, err
		}
		states = append(states, outcome.State{Version: version, Where: where.name, Before: string(before), After: string(after)})
	}
	return states, nil
}

// alone is a user with a file.
func (c *command) alone(dir, binary string) (*agents.User, error) {
	u, err := agents.NewUser(dir, 0, "")
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(binary)
	return u, errors.Join(err, os.Chmod(dir, 0o755), agents.Put(filepath.Clean(u.Installed), text, u.UID))
}

// stateIn waits a moment for a handler, since one that comes late is not there when it is needed, and goes on.
func (c *command) stateIn(ctx context.Context, u *agents.User, dir string) (before, after agents.Disposition, err error) {
	s, err := start(u, dir, usual)
	if err != nil {
		return "", "", err
	}
	defer s.Stop()
	before = c.dispositionWithin(ctx, s)
	if before == agents.Exited {
		return before, agents.Exited, nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	if err := s.Connect(ctx); err != nil {
		select {
		case <-s.Ended:
			return before, agents.Exited, nil
		case <-ctx.Done():
			return "", "", err
		}
	}
	return before, c.dispositionWithin(ctx, s), nil
}

// dispositionWithin is what a server does with the signal once it has had the time of some calls to start.
func (c *command) dispositionWithin(ctx context.Context, s *session) agents.Disposition {
	for deadline := time.Now().Add(c.timeout); time.Now().Before(deadline) && ctx.Err() == nil; {
		switch {
		case s.Gone():
			return agents.Exited
		case agents.DispositionOf(s.PID()) == agents.Caught:
			return agents.Caught
		}
		_ = sleep(ctx, c.look)
	}
	if s.Gone() {
		return agents.Exited
	}
	return agents.DispositionOf(s.PID())
}
