// SPDX-License-Identifier: MIT

package upgrade

import (
	"cmp"
	"context"
	"slices"
	"time"

	"ebpf-upgrader/selector"
)

// Saved is what must survive the process that runs a service.
type Saved struct {
	Paused  bool
	Number  uint64
	Install selector.Install
	Started time.Time
	// Proven says that the canaries are through.
	Proven bool
	Halted bool
	Deaths int
	// Servers are those that were asked, with what became of them, ascending by PID.
	Servers []SavedServer
}

// SavedServer is one server that was asked.
type SavedServer struct {
	Member
	Ran     selector.Image
	Carried bool
}

// journal keeps what must survive. Neither method may wait for a disk.
type journal interface {
	// Save replaces all that was kept.
	Save(s Saved) error
	// Note replaces what was kept of one server.
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

func (s *Service) note(m Member) {
	if s.cfg.Journal != nil {
		s.journaled(s.cfg.Journal.Note(m.saved()))
	}
}

func (s *Service) save() {
	if s.cfg.Journal == nil || s.rollout == nil {
		return
	}
	r := s.rollout
	saved := Saved{
		Paused: s.paused, Number: r.number, Install: r.install, Started: r.started,
		Proven: r.gate.open, Halted: r.halted, Deaths: r.deaths,
	}
	for _, m := range r.members {
		if m.State.Kept() {
			saved.Servers = append(saved.Servers, m.saved())
		}
	}
	slices.SortFunc(saved.Servers, func(a, b SavedServer) int { return cmp.Compare(a.PID, b.PID) })
	s.journaled(s.cfg.Journal.Save(saved))
}

// journaled tells of the first error of several. The service goes on: what makes a second signal
// harmless does not depend on the journal.
func (s *Service) journaled(err error) {
	if err != nil && !s.unsaved {
		s.cfg.Observer.Trouble(err)
	}
	s.unsaved = err != nil
}

// restored is the rollout that an earlier process left behind, with those servers that still live.
func (s *Service) restored(ctx context.Context) *rollout {
	saved := s.cfg.Saved
	r := newRollout(s.cfg.Limits, saved.Install, nil, saved.Started)
	r.number, r.halted, r.deaths = saved.Number, saved.Halted, saved.Deaths
	r.gate.open = r.gate.open || saved.Proven
	for _, server := range saved.Servers {
		m := server.Member
		m.ran, m.carried = server.Ran, server.Carried
		v := s.cfg.Upgrader.lookAt(m.PID, s.cfg.Upgrader.rule(saved.Install))
		if m.State.Kept() && v.process.Identity == m.identity() && ctx.Err() == nil {
			r.members[m.PID] = &m
			r.counts[m.State]++
		}
	}
	return r
}

// sameFile reports whether two looks at a path found the same file with the same content. An inode
// number alone may be that of a file that came later.
func sameFile(a, b selector.Install) bool {
	return a.Path == b.Path && a.Image == b.Image && a.Modified.Equal(b.Modified)
}
