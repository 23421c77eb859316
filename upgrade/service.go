// SPDX-License-Identifier: MIT

package upgrade

import (
	"context"
	"errors"
	"time"

	"ebpf-upgrader/selector"
)

// Kind says what became of a process.
type Kind uint8

// The kinds of events. The zero Kind is none.
const (
	// Execed: a server has exec'd, and is one (again).
	Execed Kind = iota + 1
	// Forked: a server made a child that has not exec'd.
	Forked
	// Ended: a server exited, or exec'd something else.
	Ended
	// Lost: something happened that was not seen; PID means nothing.
	Lost
)

// Event is a hint that it is time to look at a process.
type Event struct {
	Kind Kind
	PID  selector.PID
}

// Reason says why a round was made.
type Reason string

// The reasons, as they stand in logs.
const (
	ReasonInstall Reason = "install" // another binary stands at the path, or the service started
	ReasonServer  Reason = "server"  // servers started, or it is time to look at some again
	ReasonLoss    Reason = "loss"    // events were lost
	ReasonScan    Reason = "scan"    // the regular look at everybody
	ReasonRetry   Reason = "retry"   // the last round could not get its candidates
)

// source gives the PIDs of all processes that may be servers: too many, never too few.
type source interface {
	Candidates(ctx context.Context) ([]selector.PID, error)
}

// Observer is told what the service does. It is called by the goroutine of [Service.Run], which
// waits for it.
type Observer interface {
	// Round tells of a round after it was made. An install that is not ready is told as a round
	// without servers.
	Round(reason Reason, report Report, took time.Duration)
	// Trouble tells of an error that the service goes on after.
	Trouble(err error)
}

// ServiceConfig is what a [Service] works with. Check, Events, ScanEvery and Audit may be
// left out.
type ServiceConfig struct {
	Upgrader *Upgrader
	Source   source
	// Installs says what stands at the path now, and then whenever that changes.
	Installs <-chan selector.Install
	// Check looks at the path right before a round: a file can be opened for writing again without
	// any event.
	Check func() selector.Install
	// Events says which servers start and end, as they do.
	Events <-chan Event
	// ScanEvery is the time between looks at everybody that nothing gave reason for: the net under
	// the events, or all there is where events are not to be had. 0 means never.
	ScanEvery time.Duration
	// Audit, if any, is called before each of these looks, and once soon after the start, to put the
	// source right.
	Audit    func(ctx context.Context) error
	Observer Observer
}

// Service makes rounds when an install changes, when a server appears, and when it is time to look
// again. Its state belongs to the goroutine of Run.
type Service struct {
	cfg     ServiceConfig
	install selector.Install
	agenda  agenda
}

// NewService returns a Service that has yet to Run.
func NewService(cfg ServiceConfig) *Service {
	return &Service{cfg: cfg, agenda: newAgenda()}
}

// ErrEnded means that an input of the service came to its end while it ran.
var ErrEnded = errors.New("input ended")

// Run serves until ctx ends, and then returns nil after the delivery at hand. It fails with
// [ErrEnded] when the installs or the events end by themselves.
func (s *Service) Run(ctx context.Context) error {
	var scan <-chan time.Time
	if s.cfg.ScanEvery > 0 {
		ticker := time.NewTicker(s.cfg.ScanEvery)
		defer ticker.Stop()
		scan = ticker.C
	}
	// A server that forks while the source is seeded may leave a child that is in neither the seed nor
	// the events. It counts as a server once it has stayed for ForkAge, and is found then.
	seeded := time.NewTimer(selector.ForkAge)
	defer seeded.Stop()
	for {
		wake, stop := s.agenda.timer()
		select {
		case <-ctx.Done():
			return nil
		case install, open := <-s.cfg.Installs:
			if !open {
				return ended(ctx)
			}
			s.installed(ctx, install)
		case e, open := <-s.cfg.Events:
			if !open {
				return ended(ctx)
			}
			s.happened(ctx, e)
		case <-wake:
			s.lookAgain(ctx)
		case <-scan:
			s.auditedRound(ctx)
		case <-seeded.C:
			s.auditedRound(ctx)
		}
		stop()
	}
}

// ended tells the end of an input from the end of everything.
func ended(ctx context.Context) error {
	if ctx.Err() == nil {
		return ErrEnded
	}
	return nil
}

func (s *Service) installed(ctx context.Context, install selector.Install) {
	s.install = install
	s.cfg.Upgrader.ledger.installChanged()
	s.roundOverAll(ctx, ReasonInstall)
}

func (s *Service) happened(ctx context.Context, e Event) {
	switch e.Kind {
	case Execed:
		s.cfg.Upgrader.ledger.execed(e.PID)
		s.agenda.soon(e.PID, time.Now())
	case Forked:
		s.agenda.at(e.PID, time.Now().Add(selector.ForkAge))
	case Ended:
		s.cfg.Upgrader.ledger.forget(e.PID)
		s.agenda.forget(e.PID)
	case Lost:
		s.roundOverAll(ctx, ReasonLoss)
	}
}

func (s *Service) lookAgain(ctx context.Context) {
	now := time.Now()
	if s.agenda.everybodyDue(now) {
		s.roundOverAll(ctx, ReasonRetry)
		return
	}
	due := s.agenda.due(now)
	switch {
	case len(due) == 0:
	case s.stillReady():
		s.round(ctx, ReasonServer, due)
	default:
		s.agenda.everybody(now)
	}
}

// stillReady reports whether what was told last still stands at the path, ready. When it does not,
// the change is told once it has settled, or the file comes back to rest as it was.
func (s *Service) stillReady() bool {
	if s.cfg.Check == nil {
		return s.install.State == selector.StateReady
	}
	now := s.cfg.Check()
	return now.State == selector.StateReady && now.Image == s.install.Image
}

func (s *Service) auditedRound(ctx context.Context) {
	if s.cfg.Audit != nil {
		if err := s.cfg.Audit(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Observer.Trouble(err)
		}
	}
	s.roundOverAll(ctx, ReasonScan)
}

func (s *Service) roundOverAll(ctx context.Context, reason Reason) {
	s.agenda.everybodySeen()
	if s.install.State != selector.StateReady {
		s.cfg.Observer.Round(reason, s.cfg.Upgrader.Survey(ctx, s.install, nil), 0)
		return
	}
	if !s.stillReady() {
		s.agenda.everybody(time.Now())
		return
	}
	candidates, err := s.cfg.Source.Candidates(ctx)
	if err != nil {
		if ctx.Err() == nil {
			s.cfg.Observer.Trouble(err)
			s.agenda.everybody(time.Now())
		}
		return
	}
	report := s.round(ctx, reason, candidates)
	if ctx.Err() != nil { // the survey may have been cut short
		return
	}
	living := make(map[selector.PID]bool, len(report.Servers))
	for _, server := range report.Servers {
		living[server.PID] = server.Verdict != selector.Gone
	}
	s.cfg.Upgrader.ledger.keepOnly(living)
	s.agenda.keepOnly(living)
}

// round also notes whom to look at again: those that are behind for a reason that may pass without
// an event.
func (s *Service) round(ctx context.Context, reason Reason, candidates []selector.PID) Report {
	start := time.Now()
	report := s.cfg.Upgrader.Round(ctx, s.install, candidates)
	now := time.Now()
	for _, server := range report.Servers {
		switch server.Verdict {
		case selector.NoHandler:
			s.agenda.backOff(server.PID, now)
		case selector.Forked:
			s.agenda.at(server.PID, now.Add(selector.ForkAge-server.age))
		case selector.Outdated:
			s.agenda.at(server.PID, s.cfg.Upgrader.ledger.retryAt(server.PID, now))
		default:
			s.agenda.forget(server.PID)
		}
	}
	s.cfg.Observer.Round(reason, report, now.Sub(start))
	return report
}
