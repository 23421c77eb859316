// SPDX-License-Identifier: MIT

//go:build linux

// Package agents runs real rag-rat servers with real MCP clients, beside the service under test.
package agents

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"ebpf-upgrader/test/poll"
)

// protocol is the version that agents use today. A newer one has no initialize, and such a session is never upgraded.
const protocol = "2025-06-18"

// Session is one agent with its server.
type Session struct {
	// Installed is the file that the server execs. Dir is the folder that it serves.
	Installed, Dir string
	// Ended is closed when the server has ended. End then says how.
	Ended chan struct{}
	End   string

	cmd    *exec.Cmd
	client *mcp.ClientSession
	stdin  io.WriteCloser
	stdout io.ReadCloser
}

// Variable is the environment variable that arms a server of the user.
func (u *User) Variable() string { return "RAG_RAT_UPGRADE_BIN=" + u.Installed }

// Start starts a server of the user in a folder, with additions to its environment. The caller must stop it.
func (u *User) Start(dir string, how Stdio, env ...string) (*Session, error) {
	s := &Session{Installed: u.Installed, Dir: dir, Ended: make(chan struct{})}
	s.cmd = u.Command(context.Background(), dir, u.Installed, "mcp")
	s.cmd.Env = append(s.cmd.Env, env...)
	if u.Prepare != nil {
		u.Prepare(s.cmd)
	}
	log, err := os.OpenFile(filepath.Join(u.Home, "stderr"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	s.cmd.Stderr = log
	theirs, err := s.connectTo(how)
	if err != nil {
		return nil, err
	}
	err = s.cmd.Start()
	for _, f := range theirs {
		_ = f.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", u.Installed, err)
	}
	go s.wait()
	return s, nil
}

func (s *Session) wait() {
	_ = s.cmd.Wait() // the state has the same information
	s.End = s.cmd.ProcessState.String()
	close(s.Ended)
}

// PID returns the PID of the server, which an exec keeps.
func (s *Session) PID() int { return s.cmd.Process.Pid }

// Gone reports whether the server has ended.
func (s *Session) Gone() bool {
	select {
	case <-s.Ended:
		return true
	default:
		return false
	}
}

// Stop kills the server, and waits for its end.
func (s *Session) Stop() {
	if s.client != nil {
		go func() { _ = s.client.Close() }() // it may wait for an answer
	}
	_ = s.stdin.Close()
	_ = s.stdout.Close()
	_ = s.cmd.Process.Kill()
	<-s.Ended
}

// Connect initializes the session with the server.
func (s *Session) Connect(ctx context.Context) error {
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	session, err := client.Connect(ctx, &mcp.IOTransport{Reader: s.stdout, Writer: s.stdin},
		&mcp.ClientSessionOptions{ProtocolVersion: protocol})
	if err != nil {
		return fmt.Errorf("initialize the session with %d: %w", s.PID(), err)
	}
	s.client = session
	return nil
}

// Answer is the outcome of a call.
type Answer int

// The outcomes of a call.
const (
	Answered Answer = iota
	// RefusedBySchema: a server of a newer version has migrated the index.
	RefusedBySchema
	// Unanswered: no answer came while the client waited.
	Unanswered
	// Broken: the server ended, or answered with another error.
	Broken
)

// tool is the tool that agents call most.
const tool = "semantic_search"

// refusal is part of an older server's message about an index that a newer version has migrated.
const refusal = "created by a newer rag-rat"

// Call searches once. The error explains every outcome but Answered.
func (s *Session) Call(ctx context.Context) (Answer, error) {
	result, err := s.client.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: map[string]any{"query": "semantic recall"}})
	switch {
	case ctx.Err() != nil:
		return Unanswered, ctx.Err()
	case err != nil && strings.Contains(err.Error(), refusal):
		return RefusedBySchema, err
	case err != nil:
		return Broken, err
	}
	var text strings.Builder
	for _, c := range result.Content {
		if t, ok := c.(*mcp.TextContent); ok {
			text.WriteString(t.Text)
		}
	}
	switch {
	case strings.Contains(text.String(), refusal):
		return RefusedBySchema, errors.New(text.String())
	case result.IsError:
		return Broken, errors.New(text.String())
	}
	return Answered, nil
}

// Connected reports whether the session has been initialized.
func (s *Session) Connected() bool { return s.client != nil }

// AwaitAnswer calls at an interval until the server answers. Several servers that start at the same time find the index
// locked.
func (s *Session) AwaitAnswer(ctx context.Context, interval time.Duration) error {
	for {
		answer, err := s.Call(ctx)
		if answer == Answered {
			return nil
		}
		if s.Gone() || poll.Sleep(ctx, interval) != nil {
			return fmt.Errorf("the first call of %d: %w", s.PID(), err)
		}
	}
}

// Image returns the file that the server runs.
func (s *Session) Image() (Image, error) { return ImageAt(fmt.Sprintf("/proc/%d/exe", s.PID())) }
