// SPDX-License-Identifier: MIT

package upgrade

import (
	"maps"
	"time"

	"ebpf-upgrader/selector"
)

// ledger remembers who was asked for which install, so that nobody is asked twice for one. It
// belongs to one goroutine.
type ledger struct {
	retryAfter time.Duration
	// notices has the latest one of each PID; the identity in it tells a later owner of the number.
	notices map[selector.PID]notice
}

type notice struct {
	identity selector.Identity
	install  selector.Image
	// ran is what the server ran when it was asked. Once it runs something else it has exec'd, and
	// is done with this install even if that is not the installed file: a script may stand there.
	ran  selector.Image
	at   time.Time
	done bool
}

func newLedger(retryAfter time.Duration) *ledger {
	return &ledger{retryAfter: retryAfter, notices: make(map[selector.PID]notice)}
}

// due reports whether p may be asked for install now. One that was asked and has not exec'd yet is
// left alone even when another binary lands: it will exec what stands at the path by then, and a
// second signal could reach it in the middle of that, where it kills.
func (l *ledger) due(p selector.Process, install selector.Image, now time.Time) bool {
	n, asked := l.notices[p.PID]
	switch {
	case !asked || n.identity != p.Identity:
		return true
	case n.done || n.ran != p.Image:
		return n.install != install
	}
	return now.Sub(n.at) >= l.retryAfter
}

// retryAt is when the process with this number may be asked again, counted from now if it could not
// be asked.
func (l *ledger) retryAt(pid selector.PID, now time.Time) time.Time {
	if n, asked := l.notices[pid]; asked && now.Sub(n.at) < l.retryAfter {
		return n.at.Add(l.retryAfter)
	}
	return now.Add(l.retryAfter)
}

func (l *ledger) asked(p selector.Process, install selector.Image, now time.Time) {
	l.notices[p.PID] = notice{identity: p.Identity, install: install, ran: p.Image, at: now}
}

// execed notes that the process with this number has exec'd: whatever it was asked for, it did.
func (l *ledger) execed(pid selector.PID) {
	if n, asked := l.notices[pid]; asked {
		n.done = true
		l.notices[pid] = n
	}
}

// forget drops what is known of the process with this number, which has ended.
func (l *ledger) forget(pid selector.PID) { delete(l.notices, pid) }

// installChanged lets those be asked again who did what they were asked for: a file that is renamed
// away and back has the same image, and a server may have exec'd what stood there in between.
func (l *ledger) installChanged() {
	maps.DeleteFunc(l.notices, func(_ selector.PID, n notice) bool { return n.done })
}

// keepOnly forgets everybody who is not among the living.
func (l *ledger) keepOnly(living map[selector.PID]bool) {
	maps.DeleteFunc(l.notices, func(pid selector.PID, _ notice) bool { return !living[pid] })
}
