// SPDX-License-Identifier: MIT

package upgrade

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"ebpf-upgrader/selector"
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
	Rollouts []SavedRollout
}

// SavedRollout is one rollout.
type SavedRollout struct {
	Number  uint64
	Install selector.Install
	Started time.Time
	// Proven says that the canaries are through.
	Proven bool
	Halted bool
	// Deaths are by the user of the servers that died, and Barred are the users whose servers are not asked
	// any more, ascending. What an older version kept has no Barred: it is those with enough deaths.
	Deaths map[uint32]int
	Barred []uint32
	// Servers are those that were asked, with what became of them, ascending by PID.
	Servers []SavedServer
}

// SavedServer is one server that was asked.
type SavedServer struct {
	Member
	Ran     selector.Image
	Carried bool
}

// journal keeps what must survive. None of its methods may wait for a disk.
type journal interface {
	// Save replaces all that was kept.
	Save(s Saved) error
	// Rollout replaces what was kept of one rollout, but not of its servers, which r does not have.
	Rollout(r SavedRollout) error
	// Forget ends what was kept of a rollout and its servers.
	Forget(number uint64) error
	// Note replaces what was kept of one server. It is in one rollout at a time.
	Note(s SavedServer) error
}

// Kept reports whether a server in that state must be remembered: a second signal could harm it, or
// it is done with this install although it does not show.
func (s State) Kept() bool {
	switch s {
	case Notified, Holding, Upgraded, Stayed, Staying:
		return true
	}
	return false
}

func (m *Member) saved() SavedServer {
	return SavedServer{Member: *m, Ran: m.ran, Carried: m.carried}
}

func (r *rollout) saved() SavedRollout {
	return SavedRollout{
		Number: r.number, Install: r.install, Started: r.started,
		Proven: r.gate.open, Halted: len(r.barred) > 0,
		Deaths: maps.Clone(r.deaths), Barred: slices.Sorted(maps.Keys(r.barred)),
	}
}

// wasBarred reports whether the servers of a user were not asked any more.
func (r SavedRollout) wasBarred(user uint32, limits Limits) bool {
	if len(r.Barred) == 0 {
		return r.Deaths[user] >= limits.MaxFailures
	}
	return slices.Contains(r.Barred, user)
}

func (s *Service) note(m Member) {
	if s.cfg.Journal != nil {
		s.journaled(s.cfg.Journal.Note(m.saved()))
	}
}

// keep keeps what is to be known of a rollout besides its servers.
func (s *Service) keep(r *rollout) {
	if s.cfg.Journal != nil {
		s.journaled(s.cfg.Journal.Rollout(r.saved()))
	}
}

func (s *Service) save() error {
	if s.cfg.Journal == nil {
		return nil
	}
	saved := Saved{Paused: s.paused, Number: s.number, AloneUntil: s.alone.until}
	for r := range s.remembered() {
		one := r.saved()
		for _, m := range r.members {
			if m.State.Kept() {
				one.Servers = append(one.Servers, m.saved())
			}
		}
		slices.SortFunc(one.Servers, func(a, b SavedServer) int { return cmp.Compare(a.PID, b.PID) })
		saved.Rollouts = append(saved.Rollouts, one)
	}
	slices.SortFunc(saved.Rollouts, func(a, b SavedRollout) int { return cmp.Compare(a.Number, b.Number) })
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
