// SPDX-License-Identifier: MIT

package upgrade

import (
	"context"
	"errors"
	"time"

	"ebpf-upgrader/selector"
)

// source gives the PIDs of all processes that may be servers: too many, never too few.
type source interface {
	Candidates(ctx context.Context) ([]selector.PID, error)
}

// ServiceConfig is what a [Service] works with. Check, Events, ScanEvery, Audit, Journal and Saved
// may be left out.
type ServiceConfig struct {
	Upgrader *Upgrader
	Limits   Limits
	Source   source
	// Installs says what stands at the path now, and then whenever that changes.
	Installs <-chan selector.Install
	// Check looks at the path right before a round: a file can be opened for writing again without
	// any event.
	Check func() selector.Install
	// Events says which servers start and end, as they do. Without, the service follows those that it
	// has asked by itself, through their pins.
	Events <-chan Event
	// ScanEvery is the time between looks at everybody that nothing gave reason for: the net under
	// the events, or all there is where events are not to be had. 0 means never.
	ScanEvery time.Duration
	// Audit, if any, is called before each of these looks, and once soon after the start, to put the
	// source right.
	Audit func(ctx context.Context) error
	// Journal keeps what must survive this process, and Saved is what it kept of the last one.
	Journal  journal
	Saved    *Saved
	Observer Observer
}

// Service makes rounds when an install changes, when a server appears, and when it is time to look
// again; it asks one server after the other as its rollout lets it, and follows what becomes of them.
// Its state belongs to the goroutine of Run; the other methods ask that goroutine, and are safe for
// concurrent use.
type Service struct {
	cfg      ServiceConfig
	requests chan func(context.Context)

	install selector.Install
	agenda  agenda
	rollout *rollout
	paused  bool
	// known has the servers as they were looked at last.
	known map[selector.PID]Server
	// history has the rollouts before this one, the latest last.
	history []Rollout
	// told is the phase that the observer knows.
	told Phase
	// followed are those whose end is waited for here; each entry ends that.
	followed map[selector.PID]context.CancelFunc
	ends     chan end
	// unsaved says that the journal failed, and that this was told.
	unsaved bool
	// ahead says that the install was found by a look at the path, and is yet to be told.
	ahead bool
	// checked is when the install was found to be still ready.
	checked time.Time
}

// NewService returns a Service that has yet to Run.
func NewService(cfg ServiceConfig) *Service {
	s := &Service{
		cfg: cfg, agenda: newAgenda(cfg.Limits.ConfirmTimeout), requests: make(chan func(context.Context)),
		known: make(map[selector.PID]Server), told: PhaseIdle,
		followed: make(map[selector.PID]context.CancelFunc), ends: make(chan end),
	}
	s.paused = cfg.Saved != nil && cfg.Saved.Paused
	return s
}

// ErrEnded means that an input of the service came to its end while it ran.
var ErrEnded = errors.New("input ended")

// Run serves until ctx ends, and then returns nil after the delivery at hand. It fails with
// [ErrEnded] when the installs or the events end by themselves.
func (s *Service) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends what follows single servers
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
		m, wake := s.next(time.Now())
		timer := time.NewTimer(wake)
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
		case e := <-s.ends:
			s.ended(e.pid, e.exit)
		case request := <-s.requests:
			request(ctx)
		case <-ready(m):
			s.ask(ctx, m)
		case <-timer.C:
			s.lookAgain(ctx)
		case <-scan:
			s.auditedRound(ctx)
		case <-seeded.C:
			s.auditedRound(ctx)
		}
		timer.Stop()
		s.tell()
	}
}

// ended tells the end of an input from the end of everything.
func ended(ctx context.Context) error {
	if ctx.Err() == nil {
		return ErrEnded
	}
	return nil
}

// installed begins a rollout, or ends one when nothing stands at the path that could be exec'd.
func (s *Service) installed(ctx context.Context, install selector.Install) {
	known := s.ahead && sameFile(install, s.install) && install.State == s.install.State
	s.install, s.ahead = install, false
	if known {
		return
	}
	if install.State == selector.StateReady {
		s.begin(ctx, install)
	}
	s.roundOverAll(ctx, ReasonInstall)
}

// rolloutsKept is how many rollouts before this one are remembered.
const rolloutsKept = 16

func (s *Service) begin(ctx context.Context, install selector.Install) {
	now := time.Now()
	before := s.rollout
	switch {
	case before != nil:
		over := before.report(s.paused)
		over.Superseded = true
		s.history = append(s.history, over)
		s.history = s.history[max(0, len(s.history)-rolloutsKept):]
		s.cfg.Observer.Rollout(over)
	case s.cfg.Saved != nil:
		before = s.restored(ctx)
	}
	if before != nil && s.rollout == nil && sameFile(before.install, install) {
		s.rollout = before // this process goes on where the last one was ended
	} else {
		s.rollout = newRollout(s.cfg.Limits, install, before, now)
	}
	r := s.rollout
	r.signal, r.moved = s.cfg.Upgrader.cfg.Signal, s.moved
	r.last(s.cfg.Upgrader.cfg.Self)
	for pid, m := range r.members {
		s.plan(*m)
		if s.follows() && s.followed[pid] == nil {
			s.followAgain(ctx, pid)
		}
	}
	s.save()
	s.told = r.phase(s.paused)
	s.cfg.Observer.Rollout(r.report(s.paused))
}

func (s *Service) happened(ctx context.Context, e Event) {
	now := time.Now()
	switch e.Kind {
	case Execed, Became:
		if s.rollout != nil {
			s.rollout.execed(e.PID, now)
		}
		if e.Kind == Became {
			delete(s.known, e.PID)
		}
		if s.rollout == nil || !s.rollout.holds(e.PID) {
			s.agenda.soon(e.PID, now)
		}
	case Forked:
		s.agenda.at(e.PID, now.Add(selector.ForkAge))
	case Ended:
		s.ended(e.PID, e.Exit)
	case AskedByOther:
		if m := s.pending(e.PID); m != nil {
			s.rollout.askedByOther(m, now, now)
		}
	case Lost:
		s.roundOverAll(ctx, ReasonLoss)
	}
}

// pending is the server with that number whose turn has not come, if it is one.
func (s *Service) pending(pid selector.PID) *Member {
	if s.rollout == nil {
		return nil
	}
	if m := s.rollout.members[pid]; m != nil && m.State == Pending {
		return m
	}
	return nil
}

func (s *Service) ended(pid selector.PID, exit Exit) {
	delete(s.known, pid)
	s.agenda.forget(pid)
	if s.rollout != nil {
		s.rollout.ended(pid, exit, time.Now())
	}
}

// tell tells the observer when the rollout has come into another phase.
func (s *Service) tell() {
	if s.rollout == nil {
		return
	}
	if now := s.current(); now.Phase != s.told {
		s.told = now.Phase
		s.save()
		s.cfg.Observer.Rollout(now)
	}
}
