// SPDX-License-Identifier: MIT

package controller

import (
	"cmp"
	"slices"
	"time"

	"ebpf-upgrader/internal/rollout"
)

// Saved is what must survive the process that runs a service.
type Saved struct {
	Paused bool
	// Number is that of the latest rollout; numbers are not used again.
	Number uint64
	// Lacking says that not all could be kept: any server that runs may have been asked.
	Lacking bool
	// AloneUntil is until when those who ran before are left alone because an earlier state was lacking; zero is not
	// at all.
	AloneUntil time.Time
	// Rollouts are those that no other has superseded, ascending by Number.
	Rollouts []rollout.Snapshot
}

// journal keeps what must survive. None of its methods may wait for a disk.
type journal interface {
	// Save replaces all that was kept.
	Save(s Saved) error
	// Rollout replaces what was kept of one rollout, but not of its servers, which r does not have.
	Rollout(r rollout.Snapshot) error
	// Forget ends what was kept of a rollout and its servers.
	Forget(number uint64) error
	// Note replaces what was kept of one server. It is in one rollout at a time.
	Note(s rollout.MemberSnapshot) error
}

func (s *Service) note(m *rollout.Member) {
	if s.cfg.Journal != nil {
		s.journaled(s.cfg.Journal.Note(m.Snapshot()))
	}
}

// keep keeps what is to be known of a rollout besides its servers.
func (s *Service) keep(r *attached) {
	if s.cfg.Journal != nil {
		s.journaled(s.cfg.Journal.Rollout(r.Snapshot()))
	}
}

func (s *Service) save() error {
	if s.cfg.Journal == nil {
		return nil
	}
	saved := Saved{Paused: s.paused, Number: s.number, AloneUntil: s.alone.until}
	for r := range s.remembered() {
		saved.Rollouts = append(saved.Rollouts, r.WithMembers())
	}
	slices.SortFunc(saved.Rollouts, func(a, b rollout.Snapshot) int { return cmp.Compare(a.Number, b.Number) })
	err := s.cfg.Journal.Save(saved)
	s.journaled(err)
	return err
}

// journaled tells of the first error of several. The service goes on: the next one will find that something is lacking,
// and be patient with those whom this one may have asked.
func (s *Service) journaled(err error) {
	if err != nil && !s.unsaved {
		s.cfg.Observer.Trouble(err)
	}
	s.unsaved = err != nil
}
