// SPDX-License-Identifier: MIT

package controller

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"ebpf-upgrader/internal/rollout"
)

// journal keeps what must survive. None of its methods may wait for a disk. What a method could not write is written by
// the next call that succeeds.
type journal interface {
	// Flush writes what could not be written.
	Flush() error
	// Save replaces all that was kept.
	Save(s rollout.Snapshots) error
	// Rollout replaces what was kept of one rollout, but not of its servers, which r does not have.
	Rollout(r rollout.Snapshot) error
	// Forget ends what was kept of a rollout and its servers.
	Forget(number uint64) error
	// Note replaces what was kept of one server. It is in one rollout at a time.
	Note(s rollout.MemberSnapshot) error
}

func (s *Service) note(m *rollout.Member) error {
	if s.cfg.Journal == nil {
		return nil
	}
	return s.journaled(s.cfg.Journal.Note(m.Snapshot()))
}

// noteIntent writes that a pending member is about to be signalled. With an error it must not be signalled, and stays
// pending.
func (s *Service) noteIntent(m *rollout.Member, now time.Time) error {
	intent := *m
	intent.State, intent.Since, intent.SignalledAt = rollout.Signalled, now, now
	err := s.note(&intent)
	if err == nil {
		return nil
	}
	_ = s.note(m) // the intent that is yet to be written is void
	return fmt.Errorf("not signalled before the intent is written: %w", err)
}

// keep keeps what is to be known of a rollout besides its servers.
func (s *Service) keep(r *attached) {
	if s.cfg.Journal != nil {
		_ = s.journaled(s.cfg.Journal.Rollout(r.Snapshot()))
	}
}

func (s *Service) save() error {
	if s.cfg.Journal == nil {
		return nil
	}
	saved := rollout.Snapshots{Number: s.number}
	for r := range s.remembered() {
		saved.Rollouts = append(saved.Rollouts, r.WithMembers())
	}
	slices.SortFunc(saved.Rollouts, func(a, b rollout.Snapshot) int { return cmp.Compare(a.Number, b.Number) })
	return s.journaled(s.cfg.Journal.Save(saved))
}

// flushEvery is the time between attempts to write a journal that could not be written.
const flushEvery = time.Second

// journaled takes the result of a write to the journal, and reports the first error of several. As long as the journal
// cannot be written no server is signalled.
func (s *Service) journaled(err error) error {
	switch {
	case err == nil:
		s.flushAt = time.Time{}
	case s.journalErr == nil:
		s.flushAt = time.Now().Add(flushEvery)
		s.cfg.Observer.Trouble(err)
	}
	s.journalErr = err
	return err
}

// flush retries what could not be written, when that is due.
func (s *Service) flush(now time.Time) {
	if s.flushAt.IsZero() || s.flushAt.After(now) {
		return
	}
	s.flushAt = now.Add(flushEvery)
	_ = s.journaled(s.cfg.Journal.Flush())
}

// unwritable says why no server is signalled at present; it is empty while the journal can be written.
func (s *Service) unwritable() string {
	if s.journalErr == nil {
		return ""
	}
	return s.journalErr.Error()
}
