// SPDX-License-Identifier: MIT

package budget

import (
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

// Bucket is the debt of one user. The zero Bucket is without debt. It is not safe for concurrent use.
type Bucket struct {
	// paidAt is when all debt is paid off.
	paidAt time.Time
}

// Charge notes that work took that long. now is when it ended.
func (b *Bucket) Charge(l Limit, took time.Duration, now time.Time) {
	if took -= l.Free; took <= 0 || l.Factor <= 0 {
		return
	}
	if b.paidAt.Before(now) {
		b.paidAt = now
	}
	b.paidAt = b.paidAt.Add(time.Duration(l.Factor) * took)
}

// Credit is how much may be spent now. It is negative for a user in debt, and the burst at most.
func (b *Bucket) Credit(l Limit, now time.Time) time.Duration {
	if l.Factor <= 0 || !b.paidAt.After(now) {
		return l.Burst
	}
	return l.Burst - b.paidAt.Sub(now)/time.Duration(l.Factor)
}

// ThrottledUntil is when the credit is no longer negative. It is zero while there is credit.
func (b *Bucket) ThrottledUntil(l Limit, now time.Time) time.Time {
	if until := b.paidAt.Add(-time.Duration(l.Factor) * l.Burst); until.After(now) {
		return until
	}
	return time.Time{}
}

// Meter has a bucket for each user. It is safe for concurrent use.
type Meter struct {
	limit Limit

	mu      sync.Mutex // guards the rest
	buckets map[User]Bucket
	// sweepAt is how many buckets there are when those without debt are dropped.
	sweepAt int
}

// minSweep is how many buckets are kept whether or not they are in debt.
const minSweep = 64

// NewMeter returns a Meter in which no user is in debt.
func NewMeter(l Limit) *Meter {
	return &Meter{limit: l, buckets: make(map[User]Bucket), sweepAt: minSweep}
}

// Charge notes that work for a user took that long. now is when it ended.
func (m *Meter) Charge(user User, took time.Duration, now time.Time) {
	if took <= m.limit.Free {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sweep(now)
	b := m.buckets[user]
	b.Charge(m.limit, took, now)
	m.buckets[user] = b
}

// Credit is [Bucket.Credit] of a user.
func (m *Meter) Credit(user User, now time.Time) time.Duration {
	b := m.bucket(user)
	return b.Credit(m.limit, now)
}

// ThrottledUntil is [Bucket.ThrottledUntil] of a user.
func (m *Meter) ThrottledUntil(user User, now time.Time) time.Time {
	b := m.bucket(user)
	return b.ThrottledUntil(m.limit, now)
}

func (m *Meter) bucket(user User) Bucket {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.buckets[user]
}

// sweep drops the buckets without debt when their number has doubled since the last time.
func (m *Meter) sweep(now time.Time) {
	if len(m.buckets) < m.sweepAt {
		return
	}
	for user, b := range m.buckets {
		if !b.paidAt.After(now) {
			delete(m.buckets, user)
		}
	}
	m.sweepAt = max(minSweep, 2*len(m.buckets))
}
