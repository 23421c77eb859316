// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
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

// protocol is that of today's agents. One that is newer has no initialize, and such a session is never upgraded.
const protocol = "2025-06-18"

// session is one agent with its server.
type session struct {
	kind      kind
	installed string
	cmd       *exec.Cmd
	client    *mcp.ClientSession
	stdin     io.WriteCloser
	stdout    io.ReadCloser
	// ended is closed when the server has, and end says how.
	ended chan struct{}
	end   string

	// last is the file that it ran when it was looked at last.
	last image
	// absent: it had ended before the round began.
	absent bool
	// execAt and endAt are when that was seen.
	execAt, endAt time.Time

	calls, lost, refused atomic.Int64
}

// start starts a server of a user. The caller must stop it.
func (u *user) start(dir string, k kind) (*session, error) {
	s := &session{kind: k, installed: u.installed, ended: make(chan struct{})}
	s.cmd = u.command(context.Background(), dir, u.installed, "mcp")
	if k != unarmed {
		s.cmd.Env = append(s.cmd.Env, "RAG_RAT_UPGRADE_BIN="+u.installed)
	}
	log, err := os.OpenFile(filepath.Join(u.home, "stderr"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	s.cmd.Stderr = log
	in, err := s.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.stdin, s.stdout = in, out
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", u.installed, err)
	}
	go s.wait()
	return s, nil
}

func (s *session) wait() {
	_ = s.cmd.Wait() // what it says stands in the state, too
	s.end = s.cmd.ProcessState.String()
	close(s.ended)
}

func (s *session) pid() int { return s.cmd.Process.Pid }

func (s *session) gone() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// stop ends the server, whatever it does.
func (s *session) stop() {
	if s.client != nil {
		go func() { _ = s.client.Close() }() // it may wait for an answer
	}
	_ = s.stdin.Close()
	_ = s.cmd.Process.Kill()
	<-s.ended
}

// connect initializes the session.
func (s *session) connect(ctx context.Context) error {
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	session, err := client.Connect(ctx, &mcp.IOTransport{Reader: s.stdout, Writer: s.stdin},
		&mcp.ClientSessionOptions{ProtocolVersion: protocol})
	if err != nil {
		return fmt.Errorf("initialize the session with %d: %w", s.pid(), err)
	}
	s.client = session
	return nil
}

// answer is what became of a call.
type answer int

const (
	answered answer = iota
	// refusedBySchema: another server that runs a newer version has migrated the index.
	refusedBySchema
	// unanswered: in the time that the client waits.
	unanswered
	// broken: the server has ended, or answered with another error.
	broken
)

// tool is the one that agents use most.
const tool = "semantic_search"

// refusal is part of what an older server says of an index that a newer one has migrated.
const refusal = "created by a newer rag-rat"

// call searches once.
func (s *session) call(ctx context.Context) (answer, error) {
	result, err := s.client.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: map[string]any{"query": "semantic recall"}})
	switch {
	case ctx.Err() != nil:
		return unanswered, ctx.Err()
	case err != nil && strings.Contains(err.Error(), refusal):
		return refusedBySchema, err
	case err != nil:
		return broken, err
	}
	var text strings.Builder
	for _, c := range result.Content {
		if t, ok := c.(*mcp.TextContent); ok {
			text.WriteString(t.Text)
		}
	}
	switch {
	case strings.Contains(text.String(), refusal):
		return refusedBySchema, errors.New(text.String())
	case result.IsError:
		return broken, errors.New(text.String())
	}
	return answered, nil
}

// callOn calls with a pause between calls until ctx ends or the server has, as an agent does.
func (s *session) callOn(ctx context.Context, p pace) {
	for ctx.Err() == nil && !s.gone() {
		once, cancel := context.WithTimeout(context.Background(), p.timeout)
		a, _ := s.call(once)
		cancel()
		s.calls.Add(1)
		switch {
		case s.gone(): // the call is lost with the session
		case a == unanswered:
			s.lost.Add(1)
		case a == refusedBySchema:
			s.refused.Add(1)
		}
		select {
		case <-ctx.Done():
		case <-s.ended:
		case <-time.After(p.pause):
		}
	}
}

// answers says whether the session is of use to its agent still.
func (s *session) answers(p pace) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 3*p.timeout)
	defer cancel()
	for !s.gone() {
		once, end := context.WithTimeout(ctx, p.timeout)
		a, _ := s.call(once)
		end()
		if a == answered || ctx.Err() != nil {
			return a == answered
		}
	}
	return false
}
