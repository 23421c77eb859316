// SPDX-License-Identifier: MIT

package controller

import (
	"fmt"
	"time"

	"ebpf-upgrader/selector"
)

// alone is who may have been asked by an earlier service that could not keep it, on a full disk for one: the signal of
// this one could meet the exec that the first one leads to, and kill. The retry time is long enough for that exec.
type alone struct {
	// began is when this service did, and until is for how long such servers are left alone; zero is not at all.
	began, until time.Time
	// fresh are those who have exec'd since.
	fresh map[selector.PID]bool
}

// leftAlone is said of those.
const leftAlone = "may have been asked by an earlier service, which could not keep that: waits for the retry time"

// leaveAlone takes up what an earlier service left, or did not. It is kept for the next one.
func (s *Service) leaveAlone() {
	s.alone.began, s.alone.until = time.Now(), s.cfg.Saved.AloneUntil
	if !s.cfg.Saved.Lacking {
		return
	}
	after := s.cfg.Limits.RetryAfter
	s.alone.until = s.alone.began.Add(after)
	s.cfg.Observer.Trouble(fmt.Errorf(
		"an earlier service may have asked servers and not kept that: those that run already are left alone for %s", after))
	_ = s.save() // which tells of its error
}

// has reports whether one is left alone. When it began is known to be a moment, or a little before.
func (a *alone) has(k *known, now time.Time) bool {
	return now.Before(a.until) && k != nil && !a.fresh[k.PID] && !k.born.After(a.began)
}

// execed notes that a server did what it was asked for, if it was.
func (a *alone) execed(pid selector.PID, now time.Time) {
	if now.Before(a.until) {
		a.fresh[pid] = true
	}
}

// ended makes the number of a process free for another.
func (a *alone) ended(pid selector.PID) { delete(a.fresh, pid) }
