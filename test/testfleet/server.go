// SPDX-License-Identifier: MIT

//go:build linux

package testfleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

// Server is the control side of a server, which is a real process. It is safe for concurrent use.
type Server struct {
	process *os.Process
	stdin   *os.File
	stdout  *os.File // nil without a session
	reports *os.File
	// reap waits for process, once.
	reap func() (*os.ProcessState, error)
	stop func() error

	exited chan struct{}

	mu       sync.Mutex // guards all below
	events   []Event
	changed  chan struct{} // closed and replaced at each event
	identity selector.Identity
	latest   Event // the last start
	signals  int
	daemon   *handle
	child    *handle
	exit     *os.ProcessState
	broken   error
}

func newServer(process *os.Process, stdin, stdout, reports *os.File) *Server {
	s := &Server{
		process:  process,
		stdin:    stdin,
		stdout:   stdout,
		reports:  reports,
		reap:     sync.OnceValues(process.Wait),
		exited:   make(chan struct{}),
		changed:  make(chan struct{}),
		identity: selector.Identity{PID: selector.PID(process.Pid)},
	}
	s.identity.StartTime, _ = startTime(s.identity.PID.String())
	s.stop = sync.OnceValue(s.end)
	go s.follow() // until the other end of reports is closed
	return s
}

// PID returns the PID of the server, or of the daemon that it has become.
func (s *Server) PID() selector.PID { return s.Identity().PID }

// Identity returns the PID and the start time.
func (s *Server) Identity() selector.Identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.identity
}

// Generation returns the number of execs since the start.
func (s *Server) Generation() int { return s.last().Generation }

// Image returns the file that the server ran at its last start.
func (s *Server) Image() selector.Image { return s.last().Image }

func (s *Server) last() Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.latest
}

// Signals returns how many SIGUSR1 the server has reported in all generations. A signal that ended it, or came while
// another one was pending, is not counted.
func (s *Server) Signals() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.signals
}

// ChildPID returns the PID of the forked child, or zero if none was reported.
func (s *Server) ChildPID() selector.PID {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.child == nil {
		return 0
	}
	return s.child.pid
}

// Events returns a copy of the events so far.
func (s *Server) Events() []Event {
	events, _ := s.since(0)
	return append([]Event(nil), events...)
}

// since returns the events from index n on, and a channel that is closed at the next event.
func (s *Server) since(n int) ([]Event, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.events[n:len(s.events):len(s.events)], s.changed
}

// Exited returns a channel that is closed when the server has ended, was reaped, and all its events were read.
func (s *Server) Exited() <-chan struct{} { return s.exited }

// ExitState returns how the server ended. It is nil before, and for a daemon, which is no child of this process.
func (s *Server) ExitState() *os.ProcessState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.exit
}

// Await returns the first event, past ones included, for which wanted returns true. It calls wanted once per event, in
// order. It fails when ctx or the server ends.
func (s *Server) Await(ctx context.Context, wanted func(Event) bool) (Event, error) {
	for n := 0; ; {
		ended := s.hasExited() // read first: no event follows afterwards
		events, changed := s.since(n)
		for _, e := range events {
			if wanted(e) {
				return e, nil
			}
		}
		n += len(events)
		if ended {
			return Event{}, s.errEnded()
		}
		select {
		case <-changed:
		case <-s.exited:
		case <-ctx.Done():
			return Event{}, fmt.Errorf("await event of server %d: %w", s.PID(), ctx.Err())
		}
	}
}

func (s *Server) hasExited() bool {
	select {
	case <-s.exited:
		return true
	default:
		return false
	}
}

// ErrEnded means that the server has ended before the awaited event.
var ErrEnded = errors.New("server has ended")

func (s *Server) errEnded() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return fmt.Errorf("follow server %d: %w", s.identity.PID, s.broken)
	}
	return fmt.Errorf("await event of server %d: %w: %v", s.identity.PID, ErrEnded, s.exit)
}

// ErrNeverArms means that the server has no handler and will not install one.
var ErrNeverArms = errors.New("server never arms")

// AwaitArmed waits until the server is armed in the given generation or a later one. It fails with [ErrNeverArms] as
// soon as the server reports that, and otherwise as Await does.
func (s *Server) AwaitArmed(ctx context.Context, generation int) error {
	e, err := s.Await(ctx, func(e Event) bool {
		return e.Generation >= generation && (e.Kind == Armed || e.Kind == Unarmed)
	})
	if err == nil && e.Kind == Unarmed {
		return fmt.Errorf("await server %d: %w", s.PID(), ErrNeverArms)
	}
	return err
}

// AwaitGeneration waits until the server has started in that generation or a later one. It fails as Await does.
func (s *Server) AwaitGeneration(ctx context.Context, generation int) error {
	_, err := s.Await(ctx, func(e Event) bool { return e.Kind == Started && e.Generation >= generation })
	return err
}

// CloseStdin ends the server's session. It may be called more than once.
func (s *Server) CloseStdin() {
	_ = s.stdin.Close()
}

// Session returns the client's side of the server's stdin and stdout, for a server with [Options.Session]. Closing it
// ends the session and the server.
func (s *Server) Session() io.ReadWriteCloser { return client{s} }

// client is the client's side of a session.
type client struct{ s *Server }

func (c client) Read(p []byte) (int, error)  { return c.s.stdout.Read(p) }
func (c client) Write(p []byte) (int, error) { return c.s.stdin.Write(p) }
func (c client) Close() error                { return c.s.stdin.Close() }

// Signal sends sig to the server, like any other sender on the host.
func (s *Server) Signal(sig syscall.Signal) error {
	s.mu.Lock()
	daemon := s.daemon
	s.mu.Unlock()
	if daemon != nil {
		return daemon.signal(sig)
	}
	if err := s.process.Signal(sig); err != nil {
		return fmt.Errorf("signal server %d: %w", s.process.Pid, err)
	}
	return nil
}

// Stop kills the server and the processes that it forked, and waits until they have ended. It may be called more than
// once, also concurrently.
func (s *Server) Stop() error { return s.stop() }

func (s *Server) end() error {
	late := time.AfterFunc(stopPatience, func() { _ = s.reports.Close() }) // ends follow
	defer late.Stop()
	for !s.hasExited() {
		_, changed := s.since(0)
		// An error means that the process has ended.
		_ = s.process.Kill()
		_ = s.Signal(unix.SIGKILL)
		select {
		case <-s.exited:
		case <-changed: // it may have become a daemon
		}
	}
	_ = s.stdin.Close()
	if s.stdout != nil {
		_ = s.stdout.Close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.broken, s.child.end(), s.daemon.end())
}
