// SPDX-License-Identifier: MIT

package upgrade

import (
	"cmp"
	"context"
	"slices"

	"ebpf-upgrader/selector"
)

// Status is what a service does. Its JSON form is a stable interface.
type Status struct {
	Source  Source           `json:"source"`
	Install selector.Install `json:"install"`
	Paused  bool             `json:"paused"`
	// Verdicts counts the servers by the verdict of the last look at each.
	Verdicts map[selector.Verdict]int `json:"verdicts"`
	Rollout  Rollout                  `json:"rollout"`
}

// ServerStatus is one server as it was looked at last, and where it stands in the rollout.
type ServerStatus struct {
	Server
	// Rollout is nil for a server that the rollout has nothing to do with.
	Rollout *Member `json:"rollout"`
}

// do runs f in the goroutine of Run and waits for it.
func (s *Service) do(ctx context.Context, f func(context.Context)) error {
	done := make(chan struct{})
	request := func(ctx context.Context) {
		defer close(done)
		f(ctx)
	}
	select {
	case s.requests <- request:
	case <-ctx.Done():
		return ctx.Err()
	}
	<-done
	return nil
}

// Status says what the service does now. It waits for the step at hand, and fails only when ctx ends.
func (s *Service) Status(ctx context.Context) (status Status, err error) {
	err = s.do(ctx, func(context.Context) {
		status = Status{
			Source: s.cfg.Upgrader.cfg.Source, Install: s.install, Paused: s.paused,
			Verdicts: make(map[selector.Verdict]int), Rollout: s.current(),
		}
		for _, server := range s.known {
			if IsServer(server) {
				status.Verdicts[server.Verdict]++
			}
		}
	})
	return status, err
}

// current is the rollout under way. Where nothing ready stands at the path it is idle.
func (s *Service) current() Rollout {
	if s.rollout == nil {
		return Rollout{Install: s.install, Phase: PhaseIdle, Servers: map[State]int{}}
	}
	r := s.rollout.report(s.paused)
	if s.install.State != selector.StateReady {
		r.Install, r.Phase = s.install, PhaseIdle
	}
	return r
}

// Servers lists the servers that the service knows, ascending by PID.
func (s *Service) Servers(ctx context.Context) (servers []ServerStatus, err error) {
	err = s.do(ctx, func(context.Context) {
		servers = make([]ServerStatus, 0, len(s.known))
		for pid, server := range s.known {
			if !IsServer(server) {
				continue
			}
			status := ServerStatus{Server: server}
			if s.rollout != nil {
				if m := s.rollout.members[pid]; m != nil {
					copied := *m
					status.Rollout = &copied
				}
			}
			servers = append(servers, status)
		}
	})
	slices.SortFunc(servers, func(a, b ServerStatus) int { return cmp.Compare(a.PID, b.PID) })
	return servers, err
}

// Rollouts lists the latest rollouts, the one under way last.
func (s *Service) Rollouts(ctx context.Context) (rollouts []Rollout, err error) {
	err = s.do(ctx, func(context.Context) {
		rollouts = append(slices.Clone(s.history), s.current())
	})
	return rollouts, err
}

// Trigger looks at the path and at everybody now. Who is outdated is asked in its turn, self last if it
// is not 0. The report has the servers, and in Plan whose turn is to come.
func (s *Service) Trigger(ctx context.Context, self selector.PID) (report Report, err error) {
	err = s.do(ctx, func(ctx context.Context) {
		if s.cfg.Check != nil {
			if found := s.cfg.Check(); found.State == selector.StateReady && !sameFile(found, s.install) {
				s.install, s.ahead = found, true
				s.begin(ctx, found)
			}
		}
		if s.rollout != nil && self != 0 {
			s.rollout.last(self)
		}
		report = s.roundOverAll(ctx, ReasonTrigger)
	})
	return report, err
}

// Pause lets nobody be asked until Resume, also not by the next process.
func (s *Service) Pause(ctx context.Context) error {
	return s.do(ctx, func(context.Context) {
		s.paused = true
		s.save()
	})
}

// Resume ends a pause, and lets a rollout that halted go on.
func (s *Service) Resume(ctx context.Context) error {
	return s.do(ctx, func(context.Context) {
		s.paused = false
		if s.rollout != nil && s.rollout.halted {
			s.rollout.resume()
		}
		s.save()
	})
}
