// SPDX-License-Identifier: MIT

package budget

import (
	"maps"
	"sync"
	"time"
)

// Limit is how much time may be spent on one user.
type Limit struct {
	// Factor says how slowly a debt is paid off: work that took d is paid off after Factor*d. A user thus gets 1/Factor of the
	// time of one worker in the long run. 0: there is no debt.
	Factor int
	// Burst is how much may be spent at once before the user is throttled.
	Burst time.Duration
	// Free is how much of each piece of work is not charged.
	Free time.Duration
}

// Meter has the debt of each user. It is safe for concurrent use.
type Meter struct {
	limit Limit

	mu sync.Mutex // guards the rest
	// paidAt is when the debt of a user is paid off.
	paidAt map[User]time.Time
	// sweepAt is how many entries there are when those without debt are dropped.
	sweepAt int
}

// minSweep is how many entries are kept whether or not their users are in debt.
const minSweep = 64

// NewMeter returns a Meter in which no user is in debt.
func NewMeter(l Limit) *Meter {
	return &Meter{limit: l, paidAt: make(map[User]time.Time), sweepAt: minSweep}
}

// Charge notes that work for a user took that long. now is when it ended.
func (m *Meter) Charge(user User, took time.Duration, now time.Time) {
	if took -= m.limit.Free; took <= 0 || m.limit.Factor <= 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.paidAt) >= m.sweepAt {
		maps.DeleteFunc(m.paidAt, func(_ User, at time.Time) bool { return !at.After(now) })
		m.sweepAt = max(minSweep, 2*len(m.paidAt))
	}
	from := m.paidAt[user]
	if from.Before(now) {
		from = now
	}
	m.paidAt[user] = from.Add(time.Duration(m.limit.Factor) * took)
}

// Credit is how much may be spent on a user now. It is negative for a user in debt, and the burst at most.
func (m *Meter) Credit(user User, now time.Time) time.Duration {
	paidAt := m.of(user)
	if !paidAt.After(now) {
		return m.limit.Burst
	}
	return m.limit.Burst - paidAt.Sub(now)/time.Duration(m.limit.Factor)
}

// ThrottledUntil is when the credit of a user is no longer negative. It is zero while there is credit.
func (m *Meter) ThrottledUntil(user User, now time.Time) time.Time {
	if until := m.of(user).Add(-time.Duration(m.limit.Factor) * m.limit.Burst); until.After(now) {
		return until
	}
	return time.Time{}
}

func (m *Meter) of(user User) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.paidAt[user]
}
