// SPDX-License-Identifier: MIT

//go:build linux

package testfleet

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"ebpf-upgrader/selector"
)

// follow reads the reports of the server until it ends.
func (s *Server) follow() {
	defer close(s.exited)
	lines := bufio.NewReader(s.reports)
	var err error
	for err == nil {
		var line []byte
		if line, err = lines.ReadBytes('\n'); err == nil {
			err = s.take(line)
		}
	}
	_ = s.reports.Close() // the lifeline: a process that still holds the other end ends
	s.finish(err)
}

// take records one line.
func (s *Server) take(line []byte) error {
	e := Event{At: time.Now()}
	if err := json.Unmarshal(line, &e); err != nil {
		return fmt.Errorf("parse report %q: %w", line, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.complete(&e)
	s.events = append(s.events, e)
	close(s.changed)
	s.changed = make(chan struct{})
	return s.applyLocked(e)
}

// complete sets the fields that the server did not report: in a root without /proc it does not know its image, and a
// forked daemon reports its PID only once.
func (s *Server) complete(e *Event) {
	if e.PID == 0 {
		e.PID = s.identity.PID
	}
	if e.Kind == Started && !e.Image.Known() {
		e.Image, _ = imageOf(fmt.Sprintf("/proc/%d/exe", e.PID))
	}
	switch {
	case e.StartTime != 0:
	case e.PID == s.identity.PID:
		e.StartTime = s.identity.StartTime
	default:
		e.StartTime, _ = startTime(e.PID.String())
	}
}

func (s *Server) applyLocked(e Event) (err error) {
	switch e.Kind {
	case Started:
		s.latest = e
	case Signalled:
		s.signals++
	case Forked:
		s.child, err = open(e.Child)
	case Daemonised:
		s.identity = selector.Identity{PID: e.PID, StartTime: e.StartTime}
		s.daemon, err = open(e.PID)
		go func() { _, _ = s.reap() }() // the parent, which ends
	}
	return err
}

// finish records how the server ended.
func (s *Server) finish(cause error) {
	state, _ := s.reap()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.daemon == nil {
		s.exit = state
	}
	if !errors.Is(cause, io.EOF) {
		s.broken = cause
	}
}
