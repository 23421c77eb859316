// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"sync/atomic"
	"time"

	"ebpf-upgrader/test/ragrat/agents"
)

// kind is how an agent came to its server.
type kind int

const (
	// usual: a session in a worktree, with the variable.
	usual kind = iota
	// uninitialized: the client has not said anything yet.
	uninitialized
	// unconfigured: the server runs where there is no rag-rat.toml.
	unconfigured
	// unarmed: the server has no variable.
	unarmed
)

// session is one agent with its server, and what is counted of them.
type session struct {
	*agents.Session
	kind kind

	// last is the file that it ran when it was looked at last.
	last agents.Image
	// used is its processor time when that was asked for last.
	used time.Duration
	// absent: it had ended before the round began.
	absent bool
	// execAt and endAt are when that was seen.
	execAt, endAt time.Time

	calls, lost, refused atomic.Int64
}

// start starts a server of a user. The caller must stop it.
func start(u *agents.User, dir string, k kind) (*session, error) {
	var env []string
	if k != unarmed {
		env = append(env, u.Variable())
	}
	s, err := u.Start(dir, agents.Pipes, env...)
	if err != nil {
		return nil, err
	}
	return &session{Session: s, kind: k}, nil
}

// callOn calls with a pause between calls until ctx ends or the server has, as an agent does.
func (s *session) callOn(ctx context.Context, p pace) {
	for ctx.Err() == nil && !s.Gone() {
		once, cancel := context.WithTimeout(context.Background(), p.timeout)
		a, _ := s.Call(once)
		cancel()
		s.calls.Add(1)
		switch {
		case s.Gone(): // the call is lost with the session
		case a == agents.Unanswered:
			s.lost.Add(1)
		case a == agents.RefusedBySchema:
			s.refused.Add(1)
		}
		select {
		case <-ctx.Done():
		case <-s.Ended:
		case <-time.After(p.pause):
		}
	}
}

// answers says whether the session is of use to its agent still.
func (s *session) answers(p pace) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 3*p.timeout)
	defer cancel()
	for !s.Gone() {
		once, end := context.WithTimeout(ctx, p.timeout)
		a, _ := s.Call(once)
		end()
		if a == agents.Answered || ctx.Err() != nil {
			return a == agents.Answered
		}
	}
	return false
}
