// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"ebpf-upgrader/test/poll"
	"ebpf-upgrader/test/ragrat/agents"
	"ebpf-upgrader/test/ragrat/outcome"
)

// allStates reads the states of all versions for the document. Without one it does nothing: a server that never arms is
// observed for a whole timeout.
func (c *command) allStates(ctx context.Context, paths []string) ([]outcome.State, error) {
	if !c.documents() {
		return nil, nil
	}
	var states []outcome.State
	for i, version := range c.versions {
		found, err := c.states(ctx, version, paths[i])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", version, err)
		}
		states = append(states, found...)
	}
	return states, nil
}

// states reads what servers of a version do with SIGUSR1 before and after initialize, with and without a
// configuration.
func (c *command) states(ctx context.Context, version, binary string) (states []outcome.State, err error) {
	host, err := agents.NewHost("ragrat-")
	defer func() { err = errors.Join(err, host.Close()) }()
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	u, err := host.AddUser(0, "", text)
	if err != nil {
		return nil, err
	}
	worktree, err := u.Worktree(ctx, "worktree", agents.OwnIndex)
	if err != nil {
		return nil, err
	}
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

// stateIn reads the disposition of one server before and after initialize.
func (c *command) stateIn(ctx context.Context, u *agents.User, dir string) (before, after agents.Disposition, err error) {
	s, err := start(u, dir, usual, c.pace)
	if err != nil {
		return "", "", err
	}
	defer s.Stop()
	before = c.dispositionInTime(ctx, s)
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
	return before, c.dispositionInTime(ctx, s), nil
}

// dispositionInTime returns the disposition of a server that has had the timeout of a call to install a handler. A
// handler that comes later is missing when it is needed.
func (c *command) dispositionInTime(ctx context.Context, s *session) agents.Disposition {
	for deadline := time.Now().Add(c.timeout); time.Now().Before(deadline) && ctx.Err() == nil; {
		if s.Gone() || agents.DispositionOf(s.PID()) == agents.Caught {
			break
		}
		_ = poll.Sleep(ctx, c.poll)
	}
	if s.Gone() {
		return agents.Exited
	}
	return agents.DispositionOf(s.PID())
}
