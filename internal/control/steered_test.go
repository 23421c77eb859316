// SPDX-License-Identifier: MIT

//go:build linux

package control_test

import (
	"context"
	"sync"
	"sync/atomic"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// steered is what the requests reach: the rollouts behind it are tested where they are made.
type steered struct {
	status  api.Status
	servers []api.ServerStatus
	self    selector.PID
	paused  atomic.Int32
	resumed int
	// asked, if not nil, receives when a request for the status has come, which waits for the end of the service then.
	asked chan struct{}
	// live, if not nil, returns what is so now.
	live func() (api.Status, []api.ServerStatus)

	mu  sync.Mutex // guards act
	act api.Act
}

func (s *steered) Status(ctx context.Context) (api.Status, error) {
	if s.asked != nil {
		s.asked <- struct{}{}
		<-ctx.Done()
	}
	if s.live != nil {
		status, _ := s.live()
		return status, ctx.Err()
	}
	return s.status, ctx.Err()
}

func (s *steered) Servers(context.Context) ([]api.ServerStatus, error) {
	if s.live != nil {
		_, servers := s.live()
		return servers, nil
	}
	if s.servers != nil {
		return s.servers, nil
	}
	return []api.ServerStatus{{Server: api.Server{PID: 7}, Rollout: &rollout.Member{PID: 7, State: rollout.Crashed}}}, nil
}

func (s *steered) Rollouts(context.Context) ([]rollout.Report, error) {
	return s.status.Rollouts, nil
}

func (s *steered) Trigger(_ context.Context, _ string, self selector.PID) (api.Report, error) {
	s.self = self
	return api.Report{Plan: []selector.PID{7}}, nil
}

// latest is the latest act.
func (s *steered) latest() api.Act {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.act
}

func (s *steered) Act(_ context.Context, a api.Act) (api.Acted, error) {
	s.mu.Lock()
	s.act = a
	s.mu.Unlock()
	switch a.Kind {
	case api.ActPause:
		s.paused.Add(1)
	case api.ActResume:
		s.resumed++
	case api.ActAbandon:
		if a.Path != "/bin/rag-rat" {
			return api.Acted{}, api.ErrNoRollout
		}
	}
	return api.Acted{Rollouts: []uint64{2}}, nil
}
