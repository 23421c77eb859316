// SPDX-License-Identifier: MIT

package controller

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// Status is what a service does. Its JSON form is a stable interface.
type Status struct {
	Source Source `json:"source"`
	// Learned says that the servers name the installs, and not the operator.
	Learned  bool            `json:"learned"`
	Installs []InstallStatus `json:"installs"`
	Paused   bool            `json:"paused"`
	// JournalError is why the journal cannot be written: no server is signalled until it can. It is tried every second.
	JournalError string `json:"journal_error,omitzero"`
	// Verdicts counts the servers by the verdict of the last look at each.
	Verdicts map[selector.Verdict]int `json:"verdicts"`
	// Rollouts are those under way, ascending by number.
	Rollouts []rollout.Report `json:"rollouts"`
}

// InstallStatus is one place with what was told to stand there.
type InstallStatus struct {
	selector.Install
	// UID is the user whose servers name it, and Container what they run in; neither means anything
	// where the operator named it.
	UID       uint32 `json:"uid"`
	Container string `json:"container"`
	// Servers is how many processes name it.
	Servers int `json:"servers"`
	// Rollout is the number of the rollout of what stood there when it was ready last; 0 is none.
	Rollout uint64 `json:"rollout"`
	// Deaths counts the servers that died of the file before it had settled, after signals of other senders.
	Deaths int `json:"deaths"`
}

// ServerStatus is one server as it was looked at last, and where it stands in the rollout.
type ServerStatus struct {
	Server
	// Rollout is nil for a server that no rollout has anything to do with.
	Rollout *rollout.Member `json:"rollout"`
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
			Source: s.cfg.Upgrader.cfg.Source, Learned: len(s.places.fixed) == 0, Installs: s.installs(),
			Paused: s.paused, JournalError: s.unwritable(), Verdicts: make(map[selector.Verdict]int), Rollouts: s.current(),
		}
		for _, k := range s.known {
			if !k.hidden && IsServer(k.Server) {
				status.Verdicts[k.Verdict]++
			}
		}
		if len(s.over) > 0 {
			status.Verdicts[selector.OverLimit] += len(s.over)
		}
	})
	return status, err
}

// installs are sorted by path, and then by user.
func (s *Service) installs() []InstallStatus {
	all := make([]InstallStatus, 0, len(s.places.all))
	for _, p := range s.places.all {
		status := InstallStatus{Install: p.install, UID: p.Owner, Servers: len(p.servers), Deaths: len(p.deaths)}
		if p.rollout != nil {
			status.Rollout = p.rollout.Number()
		}
		for pid := range p.servers {
			status.Container = s.known[pid].Container
			break
		}
		all = append(all, status)
	}
	slices.SortFunc(all, func(a, b InstallStatus) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.UID, b.UID), cmp.Compare(a.Container, b.Container))
	})
	return all
}

// current are the rollouts under way.
func (s *Service) current() []rollout.Report {
	all := make([]rollout.Report, 0, len(s.rollouts))
	for _, r := range s.rollouts {
		if len(r.at) > 0 {
			all = append(all, s.report(r))
		}
	}
	slices.SortFunc(all, func(a, b rollout.Report) int { return cmp.Compare(a.Number, b.Number) })
	return all
}

// Servers lists the servers that the service knows, ascending by PID.
func (s *Service) Servers(ctx context.Context) (servers []ServerStatus, err error) {
	err = s.do(ctx, func(context.Context) {
		servers = make([]ServerStatus, 0, len(s.known)+len(s.over))
		for pid, k := range s.known {
			if k.hidden || !IsServer(k.Server) {
				continue
			}
			status := ServerStatus{Server: k.Server}
			if m := s.member(pid); m != nil {
				copied := *m
				copied.Detail = cmp.Or(m.Busy(time.Now()), m.Detail)
				if m.State == rollout.Pending {
					copied.Detail = cmp.Or(s.unwritable(), copied.Detail)
				}
				status.Rollout = &copied
			}
			servers = append(servers, status)
		}
		for _, server := range s.over {
			servers = append(servers, ServerStatus{Server: server})
		}
	})
	slices.SortFunc(servers, func(a, b ServerStatus) int { return cmp.Compare(a.PID, b.PID) })
	return servers, err
}

// Rollouts lists the latest rollouts that are over, and then those under way.
func (s *Service) Rollouts(ctx context.Context) (rollouts []rollout.Report, err error) {
	err = s.do(ctx, func(context.Context) {
		rollouts = append(slices.Clone(s.history), s.current()...)
	})
	return rollouts, err
}

// Trigger looks at path and at everybody now; an empty path is every install. Who is outdated is asked in
// its turn, self last if it is not 0. The report has the servers, and in Plan whose turn is to come.
func (s *Service) Trigger(ctx context.Context, path string, self selector.PID) (report Report, err error) {
	err = s.do(ctx, func(ctx context.Context) {
		s.lookAheadAt(path)
		for _, r := range s.rollouts {
			if self != 0 {
				r.SetSelf(self)
			}
		}
		report = s.roundOverAll(ctx, ReasonTrigger)
		if path != "" && len(s.places.fixed) == 0 {
			report = report.Only(func(s Server) bool { return s.UpgradeBin == path })
		}
	})
	return report, err
}

// Pause keeps the service, and the next process, from signalling any server until Resume. It pauses whatever fails: an
// error is that the next process would not know of it.
func (s *Service) Pause(ctx context.Context) error {
	return s.steer(ctx, true, func() error { return nil })
}

// Resume ends a pause, and lets rollouts that halted go on. It does whatever fails: an error is that the next
// process would not know of it.
func (s *Service) Resume(ctx context.Context) error {
	return s.steer(ctx, false, func() error {
		for _, r := range s.rollouts {
			r.Resume(time.Now())
		}
		return s.save()
	})
}

// steer waits for the disk that the pause is kept on in the caller's goroutine.
func (s *Service) steer(ctx context.Context, isPaused bool, change func() error) error {
	s.steering.Lock()
	defer s.steering.Unlock()
	var unsaved error
	err := s.do(ctx, func(context.Context) {
		s.paused = isPaused
		unsaved = change()
		s.touchAll()
	})
	if err == nil && s.cfg.KeepPause != nil {
		err = s.cfg.KeepPause(isPaused)
	}
	return errors.Join(err, unsaved)
}
