// SPDX-License-Identifier: MIT

package controller_test

import (
	"time"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// quietFor is how long a server of the model must be idle.
const quietFor = 100 * time.Millisecond

// longestOpen is how long a busy server is waited for once the canary of its group has exec'd. The others wait for longer.
const longestOpen = 2 * time.Second

// span is a time within which a server does something without a pause.
type span struct{ from, until time.Time }

// slowestRead is the longest time that it takes to read a server.
const slowestRead = 100 * time.Millisecond

// readTime is how long it takes to read a server.
func (m *model) readTime(selector.Process) time.Duration {
	switch m.dice(8) {
	case 0:
		return slowestRead
	case 1, 2:
		return time.Duration(m.dice(20)) * time.Millisecond
	}
	return 0
}

// isBusy reports whether a server has done something since before it was judged to be idle.
func (m *model) isBusy(pid selector.PID) bool {
	s, now := m.busy[pid], time.Now()
	return now.Before(s.until) && now.Sub(s.from) > slowestRead+2*time.Millisecond
}

// occupy has a server do something for some seconds.
func (m *model) occupy() {
	id, long := m.any(), time.Duration(m.dice(9000))*time.Millisecond
	m.note("%d is busy for %s", id.PID, long)
	m.change(func() { m.busy[id.PID] = span{time.Now(), time.Now().Add(long)} })
}

// Activity is different at each moment while a server is busy.
func (m *model) Activity(pid selector.PID) (selector.Activity, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.processes[pid] == nil {
		return selector.Activity{}, selector.ErrGone
	}
	s, now := m.busy[pid], time.Now()
	if now.After(s.until) {
		now = s.until
	}
	return selector.Activity{IsCounted: true, Reads: uint64(now.Sub(s.from))}, nil
}

// Works is false: the counters tell everything here.
func (*model) HasBusyThread(selector.PID) (bool, error) { return false, nil }

// checkQuiet holds a signal to a server that is busy against how long it can have been waited for.
func (m *model) checkQuiet(p *selector.Process) {
	if since := time.Since(m.landed[p.Path]); m.isBusy(p.PID) && since < longestOpen {
		m.broken("%d was sent the signal although it is busy, %s after the install", p.PID, since)
	}
}

// checkWaited holds what is told of a signal against the truth.
func (m *model) checkWaited(member rollout.Member, from rollout.State) {
	waited := time.Duration(member.Waited)
	switch {
	case from != rollout.Pending || member.State != rollout.Signalled || member.ByOther:
	case m.isBusy(member.PID) && !member.Overran:
		m.broken("%d is told to have been idle when it was sent the signal", member.PID)
	case member.Overran && (waited < longestOpen || waited > m.limits.QuietWithin+time.Second):
		m.broken("%d was busy, and waited for %s", member.PID, waited)
	}
}
