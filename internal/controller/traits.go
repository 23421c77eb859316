// SPDX-License-Identifier: MIT

package controller

import (
	"cmp"
	"time"

	"ebpf-upgrader/internal/registry"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// trait is what few processes have besides what the registry knows.
type trait struct {
	// rank is the order in the next rollout.
	rank rollout.Rank
	// foreign is the last signal of another sender.
	foreign foreignSignal
	// restored is the rollout in which an earlier process signalled it, until its install is found.
	restored *attached
}

// traits has those processes.
type traits map[selector.PID]*trait

// of is a copy; it is zero for most processes.
func (t traits) of(pid selector.PID) trait {
	if one := t[pid]; one != nil {
		return *one
	}
	return trait{}
}

func (t traits) set(pid selector.PID) *trait {
	one := t[pid]
	if one == nil {
		one = &trait{}
		t[pid] = one
	}
	return one
}

// foreignSignal is a signal of another sender: the servers' own trigger as a rule. The zero value is none.
type foreignSignal struct {
	sender selector.PID
	at     time.Time
	// hasExeced says that the server has exec'd since.
	hasExeced bool
}

// foreignWithin is for how long after a signal of another sender the end of a server may be its doing: servers wait 30 s for
// their running calls.
const foreignWithin = 35 * time.Second

// execed notes that a server has exec'd. If another sender signalled it, that led to the exec.
func (t traits) execed(pid selector.PID) {
	if one := t[pid]; one != nil && !one.foreign.at.IsZero() {
		one.foreign.hasExeced = true
	}
}

// armed notes that a server has a handler. One that has it after the exec has survived the signal.
func (t traits) armed(pid selector.PID) {
	if one := t[pid]; one != nil && one.foreign.hasExeced {
		one.foreign = foreignSignal{}
	}
}

// isDeath reports whether the end of a server is the doing of the signal. One that ends with status 0 before its exec ends
// as sessions do.
func (f *foreignSignal) isDeath(exit selector.Exit, now time.Time) bool {
	return !f.at.IsZero() && now.Sub(f.at) < foreignWithin && (f.hasExeced || !exit.IsClean())
}

// externalSignal takes the event that another sender signalled a server.
func (s *rollouts) externalSignal(e selector.Event, now time.Time) {
	at := cmp.Or(e.At, now)
	if s.registry.Process(e.PID) != nil {
		s.traits.set(e.PID).foreign = foreignSignal{sender: e.Sender, at: at}
	}
	if m := s.member(e.PID); m != nil {
		s.of(e.PID).SentByOther(m, e.Sender, at, now)
	}
}

// maxEarlyDeaths bounds what is kept of servers that died before the file of their install had settled.
const maxEarlyDeaths = 64

// noteEarlyDeath takes the end of a server of which its rollout waits for nothing: it was up to date. If it died after a
// signal of another sender, a new file has landed that has not settled yet. The death counts against that file once it has.
// Servers of other installs have an install as well where the operator named it; their verdict tells them apart.
func (s *rollouts) noteEarlyDeath(p *registry.Process, exit selector.Exit, now time.Time) {
	foreign := s.traits.of(p.PID).foreign
	if p.Install == nil || !registry.NamesInstall(p.Verdict) || !foreign.isDeath(exit, now) {
		return
	}
	all := append(s.early[p.Install], rollout.Death{
		Identity: p.Identity(), UID: p.UID, Exit: exit, WorkDir: p.WorkDir, Sender: foreign.sender, SentAt: foreign.at,
	})
	s.early[p.Install] = all[max(0, len(all)-maxEarlyDeaths):]
}

// countEarlyDeaths has the rollout of an install count the servers that died of its file before it had settled. Those that
// were signalled before the file was changed died of the one before.
func (s *rollouts) countEarlyDeaths(i *registry.Install, now time.Time) {
	for _, d := range s.early[i] {
		if !d.SentAt.Before(i.File.Changed) {
			s.at[i].AddDeath(d, now)
		}
	}
	delete(s.early, i)
}
