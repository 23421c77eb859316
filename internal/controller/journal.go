// SPDX-License-Identifier: MIT

package controller

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"ebpf-upgrader/internal/rollout"
)

// Journal keeps what must survive. None of its methods may wait for a disk. What a method could not write is written by the
// next call that succeeds.
type Journal interface {
	// Flush writes what could not be written.
	Flush() error
	// Save replaces all that was kept.
	Save(s rollout.Snapshots) error
	// Rollout replaces what was kept of one rollout, but not of its members, which r does not have.
	Rollout(r rollout.Snapshot) error
	// Forget ends what was kept of a rollout and its members.
	Forget(number uint64) error
	// Note replaces what was kept of one member. It is in one rollout at a time.
	Note(m rollout.Member) error
}

// noJournal keeps nothing.
type noJournal struct{}

func (noJournal) Flush() error                   { return nil }
func (noJournal) Save(rollout.Snapshots) error   { return nil }
func (noJournal) Rollout(rollout.Snapshot) error { return nil }
func (noJournal) Forget(uint64) error            { return nil }
func (noJournal) Note(rollout.Member) error      { return nil }

// flushEvery is the time between attempts to write a journal that could not be written.
const flushEvery = time.Second

// persister writes the journal. As long as the journal cannot be written, no server is signalled.
type persister struct {
	journal Journal
	trouble func(error)
	timers  *timers
	// err is why the journal could not be written; nil: all is written.
	err error
}

func (p *persister) member(m *rollout.Member) error {
	return p.written(p.journal.Note(*m))
}

// intent writes that a pending member is about to be signalled: if this process dies meanwhile, the next one does not signal
// it again. With an error it must not be signalled, and stays pending.
func (p *persister) intent(m *rollout.Member, now time.Time) error {
	intent := *m
	intent.State, intent.Since, intent.SignalledAt = rollout.Signalled, now, now
	err := p.member(&intent)
	if err == nil {
		return nil
	}
	_ = p.member(m) // the intent that is yet to be written is void
	return fmt.Errorf("not signalled before the intent is written: %w", err)
}

// rollout writes what is to be known of a rollout besides its members.
func (p *persister) rollout(r *attached) {
	_ = p.written(p.journal.Rollout(r.Snapshot()))
}

func (p *persister) forget(r *attached) {
	_ = p.written(p.journal.Forget(r.Number()))
}

func (p *persister) all(number uint64, rollouts map[*attached]bool) error {
	saved := rollout.Snapshots{Number: number}
	for r := range rollouts {
		saved.Rollouts = append(saved.Rollouts, r.WithMembers())
	}
	slices.SortFunc(saved.Rollouts, func(a, b rollout.Snapshot) int { return cmp.Compare(a.Number, b.Number) })
	return p.written(p.journal.Save(saved))
}

// written takes the result of a write, and reports the first error of several.
func (p *persister) written(err error) error {
	switch {
	case err == nil && p.err != nil:
		p.timers.Remove(task{kind: taskFlush})
	case err != nil && p.err == nil:
		p.timers.Set(task{kind: taskFlush}, time.Now().Add(flushEvery))
		p.trouble(err)
	}
	p.err = err
	return err
}

// flush retries what could not be written.
func (p *persister) flush(now time.Time) {
	if p.written(p.journal.Flush()) != nil {
		p.timers.Set(task{kind: taskFlush}, now.Add(flushEvery))
	}
}

// problem says why no server is signalled at present; it is empty while the journal can be written.
func (p *persister) problem() string {
	if p.err == nil {
		return ""
	}
	return p.err.Error()
}
