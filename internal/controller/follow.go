// SPDX-License-Identifier: MIT

package controller

import (
	"context"

	"ebpf-upgrader/selector"
)

// end is how a followed process ended.
type end struct {
	pid  selector.PID
	exit selector.Exit
}

// follows reports whether the service must find out by itself what becomes of those it asked.
func (s *Service) follows() bool { return s.cfg.Events == nil }

// follow waits for the end of a server that was just asked, if nothing else would tell of it. The pin
// then belongs to the goroutine that waits.
func (s *Service) follow(ctx context.Context, d *delivery) {
	if s.follows() {
		s.followPin(ctx, d.process.PID, d.target)
		d.target = nil
	}
}

// followAgain follows a server that another process asked.
func (s *Service) followAgain(ctx context.Context, pid selector.PID) {
	if target, err := s.cfg.Upgrader.cfg.Pin(pid); err == nil { // one that is gone is found out by a look
		s.followPin(ctx, pid, target)
	}
}

func (s *Service) followPin(ctx context.Context, pid selector.PID, target Target) {
	s.unfollow(pid)
	ctx, cancel := context.WithCancel(ctx)
	s.followed[pid] = cancel
	go func() {
		defer func() { _ = target.Close() }()
		exit, err := target.Wait(ctx)
		if err != nil { // nobody waits any more
			return
		}
		select {
		case s.ends <- end{pid, exit}:
		case <-ctx.Done():
		}
	}()
}

func (s *Service) unfollow(pid selector.PID) {
	if cancel := s.followed[pid]; cancel != nil {
		cancel()
		delete(s.followed, pid)
	}
}
