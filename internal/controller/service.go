// SPDX-License-Identifier: MIT

package controller

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// source gives the PIDs of all processes that may be servers: too many, never too few.
type source interface {
	Candidates(ctx context.Context) ([]selector.PID, error)
}

// idleness tells which processes are idle. None of its methods waits for another process.
type idleness interface {
	// Begin begins to watch a process of a user, and Forget ends that.
	Begin(id selector.Identity, uid uint32)
	Forget(pid selector.PID)
	// Judge says whether it is idle now.
	Judge(id selector.Identity, uid uint32) selector.Idleness
}

const (
	// DefaultForgetAfter is how long a place is watched that nobody names.
	DefaultForgetAfter = 10 * time.Minute
	// DefaultMaxPerUser is more servers than a user has who means well: each is a session.
	DefaultMaxPerUser = 4096
	// DefaultMaxPlacesPerUser is more than there are versions of anything.
	DefaultMaxPlacesPerUser = 1024
)

// ServiceConfig is what a [Service] works with. Paths, Events, ScanEvery, Audit, Journal and Saved may
// be left out.
type ServiceConfig struct {
	Upgrader *Upgrader
	Limits   rollout.Limits
	Source   source
	// Installs says what stands at the places that the servers name.
	Installs watcher
	// Paths are the only installs that are served, if there are any. Otherwise each server is compared
	// with what it names itself.
	Paths []string
	// ForgetAfter is how long a place is watched that nobody names.
	ForgetAfter time.Duration
	// MaxPerUser is how many processes of one user are looked at, and MaxPlacesPerUser how many installs
	// are watched for one; 0 bounds nothing.
	MaxPerUser, MaxPlacesPerUser int
	// Events says which servers start and end, as they do. Without, the service follows those that it
	// has asked by itself, through their pins.
	Events <-chan Event
	// ScanEvery is the time between looks at everybody that nothing gave reason for: the net under
	// the events, or all there is where events are not to be had. 0 means never.
	ScanEvery time.Duration
	// Audit, if any, is called before each of these looks, and once soon after the start, to put the
	// source right.
	Audit func(ctx context.Context) error
	// Prefers, if any, reports whether an outdated server is to be the canary of its group. It must not wait for a file
	// system.
	Prefers func(selector.Process) bool
	// Quiet, if any, tells when a server can be signalled without losing a request.
	Quiet idleness
	// Journal keeps what must survive this process, and Saved is what it kept of the last one.
	Journal journal
	Saved   *rollout.Snapshots
	// Paused says that an operator paused an earlier process. KeepPause, if any, keeps that for the next one; it may wait
	// for a disk.
	Paused    bool
	KeepPause func(paused bool) error
	Observer  Observer
}

// Service makes rounds when an install changes, when a server appears, and when it is time to look
// again; it asks one server after the other as its rollout lets it, and follows what becomes of them.
// Its state belongs to the goroutine of Run; the other methods ask that goroutine, and are safe for
// concurrent use.
type Service struct {
	cfg      ServiceConfig
	requests chan func(context.Context)

	agenda   agenda
	places   places
	rollouts map[selector.Image]*attached
	// touched are the rollouts that may have come into another phase.
	touched map[*attached]bool
	// number is that of the latest rollout.
	number uint64
	paused bool
	// known has the processes as they were looked at last, and over those that are not looked at.
	known map[selector.PID]*known
	over  map[selector.PID]Server
	// postponed are those, by user, who were left at a look at everybody and may belong anywhere.
	postponed map[uint32]map[selector.PID]bool
	// perUser counts those that are known, perOwner the places.
	perUser, perOwner map[uint32]int
	// history has the rollouts that are over, the latest last.
	history []rollout.Report
	served  served
	// looks and acts are what was done for each user: looks at processes, and looks at files and deliveries.
	looks, acts accounts
	losses      losses
	// scans is how many regular looks at everybody there were.
	scans uint64
	// followed are those whose end is waited for here; each entry ends that.
	followed map[selector.PID]context.CancelFunc
	ends     chan end
	// orphansDue is when the rollouts of an earlier process are forgotten to which no place has come.
	orphansDue time.Time
	// journalErr is why the journal could not be written; nil: all is written. flushAt is when it is tried again.
	journalErr error
	flushAt    time.Time
	// steering orders the requests of operators to pause and to resume, with what is kept of them.
	steering sync.Mutex
}

// NewService returns a Service that has yet to Run.
func NewService(cfg ServiceConfig) *Service {
	if cfg.ForgetAfter == 0 {
		cfg.ForgetAfter = DefaultForgetAfter
	}
	if cfg.MaxPlacesPerUser == 0 {
		cfg.MaxPlacesPerUser = DefaultMaxPlacesPerUser
	}
	return &Service{
		cfg: cfg, agenda: newAgenda(cfg.Limits.ConfirmTimeout), requests: make(chan func(context.Context)),
		places: newPlaces(cfg.Paths, time.Now()), rollouts: make(map[selector.Image]*attached),
		touched: make(map[*attached]bool),
		known:   make(map[selector.PID]*known), over: make(map[selector.PID]Server),
		postponed: make(map[uint32]map[selector.PID]bool),
		perUser:   make(map[uint32]int), perOwner: make(map[uint32]int),
		followed: make(map[selector.PID]context.CancelFunc), ends: make(chan end),
		served: served{users: make(map[uint32]uint64)}, looks: make(accounts), acts: make(accounts),
	}
}

// ErrEnded means that an input of the service came to its end while it ran.
var ErrEnded = errors.New("input ended")

// Run serves until ctx ends, and then returns nil after the delivery at hand. It fails with
// [ErrEnded] when the installs or the events end by themselves.
func (s *Service) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends what follows single servers
	scanEvery := cmp.Or(s.cfg.ScanEvery, idle)
	scan := time.NewTimer(scanEvery)
	defer scan.Stop()
	// A server that forks while the source is seeded may leave a child that is in neither the seed nor
	// the events. It counts as a server once it has stayed for ForkAge, and is found then.
	seeded := time.NewTimer(selector.ForkAge)
	defer seeded.Stop()
	s.start(ctx)
	for {
		s.answer(ctx)
		m, wake := s.next(time.Now())
		timer := time.NewTimer(wake)
		select {
		case <-ctx.Done():
			return nil
		case found, open := <-s.cfg.Installs.Found():
			if !open {
				return ended(ctx)
			}
			s.installed(ctx, found)
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
		case <-scan.C:
			took := s.auditedRound(ctx)
			scan.Reset(max(scanEvery, calm*took))
		case <-seeded.C:
			s.auditedRound(ctx)
		}
		timer.Stop()
		s.tell()
	}
}

// answer lets one who asks go before everything else, so that he waits for one round at most. It is one
// only: those who ask without a pause must not keep the service from its work.
func (s *Service) answer(ctx context.Context) {
	select {
	case request := <-s.requests:
		request(ctx)
		s.tell()
	default:
	}
}

// ended tells the end of an input from the end of everything.
func ended(ctx context.Context) error {
	if ctx.Err() == nil {
		return ErrEnded
	}
	return nil
}

// start takes up what was left, and looks at everybody where it is they who name the installs.
func (s *Service) start(ctx context.Context) {
	for _, p := range s.places.fixed {
		s.cfg.Installs.Watch(p.Place)
	}
	s.paused = s.cfg.Paused
	s.restore(ctx)
	if len(s.places.fixed) == 0 {
		s.roundOverAll(ctx, ReasonInstall)
	}
}

func (s *Service) happened(ctx context.Context, e Event) {
	now := time.Now()
	if s.late(e) {
		s.agenda.soon(e.PID, now)
		return
	}
	r := s.rolloutOf(e.PID)
	if r != nil {
		s.touch(r)
	}
	switch e.Kind {
	case Execed, Became:
		if r != nil {
			r.Execed(e.PID, now)
		}
		if k := s.known[e.PID]; k != nil {
			k.hidden = k.hidden || e.Kind == Became
			k.foreign.execed()
		}
		s.agenda.soon(e.PID, now)
	case Forked:
		s.agenda.at(e.PID, now.Add(selector.ForkAge))
	case Ended:
		s.ended(e.PID, e.Exit)
	case AskedByOther:
		s.signalledByOther(e, now)
	case Lost:
		if s.losses.happened(now) {
			s.roundAfterLoss(ctx)
		}
	}
}
