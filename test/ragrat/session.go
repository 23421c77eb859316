// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"ebpf-upgrader/test/ragrat/agents"
)

// kind is what a session has or lacks.
type kind int

const (
	// usual: a session in a worktree, with the variable.
	usual kind = iota
	// uninitialized: the client has sent nothing yet.
	uninitialized
	// unconfigured: the server runs in a folder without rag-rat.toml.
	unconfigured
	// unarmed: the server has no variable.
	unarmed
)

// session is one agent with its server, and what was observed of the server.
type session struct {
	*agents.Client
	kind kind

	// image is the file that the server ran at the last observation.
	image agents.Image
	// used is the processor time of the server at the last reading.
	used time.Duration
	// absent: the server had ended before the round began.
	absent bool
	// execAt and endAt are when an exec and the end were observed.
	execAt, endAt time.Time
}

// start starts a server of a user. The caller must stop it.
func start(u *agents.User, dir string, k kind, p pace) (*session, error) {
	var env []string
	if k != unarmed {
		env = append(env, u.Variable())
	}
	s, err := u.Start(dir, agents.Pipes, env...)
	if err != nil {
		return nil, err
	}
	rhythm := agents.Rhythm{Timeout: p.timeout, Pause: func(int) time.Duration { return p.pause }}
	report := func(err error) { fmt.Fprintf(os.Stderr, "ragrat: a call of %d failed: %v\n", s.PID(), err) }
	return &session{Client: agents.NewClient(s, rhythm, report), kind: k}, nil
}

// beginRound forgets the counts of the round before. A server that has ended takes no part in the new one.
func (s *session) beginRound() {
	s.absent = s.Gone()
	s.execAt = time.Time{}
	s.Reset()
}

// observe reports whether the server has exec'd or ended since the last observation.
func (s *session) observe() bool {
	if !s.endAt.IsZero() {
		return false
	}
	if s.Gone() {
		s.endAt = time.Now()
		return true
	}
	now, err := s.Image()
	if err != nil || now == s.image {
		return false // a server that is ending is observed the next time
	}
	s.image, s.execAt = now, time.Now()
	return true
}

// answers reports whether the session is still of use to its agent: of two calls in a row, an upgrade may lose the first.
func (s *session) answers(p pace) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 2*p.timeout)
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
