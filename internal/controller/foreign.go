// SPDX-License-Identifier: MIT

package controller

import (
	"cmp"
	"time"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// foreignSignal is a signal of another sender: the servers' own trigger as a rule. The zero value is none.
type foreignSignal struct {
	sender selector.PID
	at     time.Time
	// isExeced says that the server has exec'd since.
	isExeced bool
}

// foreignWithin is for how long after a signal of another sender the end of a server may be its doing: servers wait 30 s for
// their running calls.
const foreignWithin = 35 * time.Second

// signalledByOther takes the event that another sender signalled a server.
func (s *Service) signalledByOther(e Event, now time.Time) {
	at := cmp.Or(e.At, now)
	if k := s.known[e.PID]; k != nil {
		k.foreign = foreignSignal{sender: e.Sender, at: at}
	}
	if m := s.member(e.PID); m != nil {
		s.rolloutOf(e.PID).SentByOther(m, e.Sender, at, now)
	}
}

// execed notes that a server has exec'd, which the signal of another sender led to if there was one.
func (f *foreignSignal) execed() { f.isExeced = !f.at.IsZero() }

// armed notes that a server has a handler. One that has it after the exec has survived the signal.
func (f *foreignSignal) armed() {
	if f.isExeced {
		*f = foreignSignal{}
	}
}

// isDeath reports whether the end of a server is the doing of the signal. One that ends with status 0 before its exec ends
// as sessions do.
func (f *foreignSignal) isDeath(exit selector.Exit, now time.Time) bool {
	return !f.at.IsZero() && now.Sub(f.at) < foreignWithin && (f.isExeced || !exit.IsClean())
}

// noteForeignDeath takes the end of a server of which its rollout, if any, waits for nothing: it was up to date. When it died after a signal of another
// sender, a new file has landed, which has not settled yet. The death counts against that file once it has. Servers of other installs have a place as well
// where the operator named it; their verdict tells them apart.
func (s *Service) noteForeignDeath(k *known, exit selector.Exit, now time.Time) {
	if k.home == nil || !armed(k.Verdict) || !k.foreign.isDeath(exit, now) {
		return
	}
	d := rollout.Death{
		Identity: k.identity(), UID: k.UID, Detail: rollout.DescribeExit(exit, s.cfg.Upgrader.cfg.Signal), Sender: k.foreign.sender, SentAt: k.foreign.at,
		IsUnhandled: rollout.IsUnhandled(exit, s.cfg.Upgrader.cfg.Signal),
	}
	k.home.deaths = append(k.home.deaths, d)
	k.home.deaths = k.home.deaths[max(0, len(k.home.deaths)-maxEarlyDeaths):]
}

// maxEarlyDeaths bounds what is kept of servers that died before the file at their place had settled.
const maxEarlyDeaths = 64

// countEarlyDeaths has the rollout of a place count the servers that died of its file before it had settled. Those that were
// signalled before the file came there died of the one before, which another has replaced.
func (s *Service) countEarlyDeaths(p *place, now time.Time) {
	for _, d := range p.deaths {
		if !d.SentAt.Before(p.install.Changed) {
			p.rollout.AddDeath(d, now)
		}
	}
	p.deaths = nil
}
