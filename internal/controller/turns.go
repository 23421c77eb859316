// SPDX-License-Identifier: MIT

package controller

import (
	"cmp"
	"time"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// turns records in which order users and rollouts had their turns, so that each gets the same share.
type turns struct {
	// rollout had the last turn; count numbers the turns.
	rollout, count uint64
	// last is the number of the last turn of each user.
	last map[uint32]uint64
}

func (t *turns) take(m *rollout.Member) {
	t.rollout = m.Rollout
	t.count++
	t.last[m.UID] = t.count
}

// isBefore reports whether it is a's turn before b's: the user with the older last turn goes first, then the rollout with the
// next number after the one that had the last turn.
func (t *turns) isBefore(a, b *rollout.Member) bool {
	users := cmp.Compare(t.last[a.UID], t.last[b.UID])
	return cmp.Or(users, cmp.Compare(a.Rollout-t.rollout-1, b.Rollout-t.rollout-1), cmp.Compare(a.PID, b.PID)) < 0
}

// walkFactor: after a search that took d and found no member, the next one begins 4*d later at the earliest. So a user with
// 4,096 busy servers cannot fill the time of the loop with events.
const walkFactor = 4

// deliverDue begins all deliveries that may begin now. wake is when another one may begin without an event; zero: never.
func (d *deliveries) deliverDue(now time.Time) (wake time.Time) {
	d.withdraw()
	if at := d.walks.Next(now); at.After(now) {
		return at
	}
	for {
		start := time.Now()
		if d.rollouts.pauses.All != nil || d.surveys.stage == stageBlind || d.rollouts.persist.err != nil {
			d.rollouts.stopWaiting()
			d.walks.Done(start, time.Now())
			return time.Time{}
		}
		m, at := d.nextMember(now)
		if m == nil {
			d.walks.Done(start, time.Now())
			return at
		}
		if !d.launch(m) {
			return now.Add(retryAfter)
		}
	}
}

// withdraw stops the deliveries under way to users that were paused, halted or abandoned meanwhile.
func (d *deliveries) withdraw() {
	for _, f := range d.flights {
		if d.rollouts.pauses.For(f.m.UID) != nil || f.rollout.IsStoppedFor(f.m.UID) {
			f.isWithdrawn.Store(true)
		}
	}
}

// nextMember returns the member that is signalled next; nil: none may be now. wake is as in deliverDue.
func (d *deliveries) nextMember(now time.Time) (first *rollout.Member, wake time.Time) {
	for _, r := range d.rollouts.byImage {
		if !d.rollouts.maySignal(r) {
			continue
		}
		ready, at := r.Next(now, func(m *rollout.Member) rollout.Permission { return d.permission(m, now) })
		for _, m := range ready {
			if first == nil || d.turns.isBefore(m, first) {
				first = m
			}
		}
		wake = earlier(wake, at)
	}
	return first, wake
}

// execGrace is how long a server that was seen inside an exec is not signalled. /proc shows an exec only while it waits for other
// threads. After that the server shows as running, and a signal would meet the new image without a handler.
const execGrace = 2 * time.Second

// permission says whether a pending member may be signalled, as far as its install and its user are concerned.
func (d *deliveries) permission(m *rollout.Member, now time.Time) rollout.Permission {
	p := d.registry.Process(m.PID)
	switch {
	case !p.Install.MaySignal(), d.rollouts.holds.has(p.User):
		return rollout.Refuse
	case now.Sub(p.InExecAt) < execGrace:
		return rollout.Later
	case d.cfg.Quiet == nil:
		return rollout.Allow
	}
	switch d.cfg.Quiet.Judge(m.Identity(), p.User) {
	case selector.IdleYes:
		return rollout.Allow
	case selector.IdleNo:
		return rollout.Busy
	}
	return rollout.Unsure
}
