// SPDX-License-Identifier: MIT

package budget

import (
	"sync"
	"time"
)

// QueueConfig bounds a [Queue].
type QueueConfig struct {
	// Workers is how many pieces of work run at a time, and PerUser how many of them for one user.
	Workers, PerUser int
	// Limit throttles users whose work takes long. Waiting work of a throttled user stays queued.
	Limit Limit
}

// Queue runs work in goroutines of its own. Users take turns: between the submission of the first work of a user and its
// start, each other user starts one at most. It is safe for concurrent use.
type Queue struct {
	cfg QueueConfig

	mu sync.Mutex // guards the rest
	// users has those with work that waits or runs, and those in debt. Those without either are dropped when there are
	// sweepAt.
	users   map[uint32]*line
	sweepAt int
	// ready are the users whose next work may start, in their turn. Each is in it once.
	ready []*line
	// workers counts the goroutines; each runs work.
	workers int
	closed  bool
	ended   sync.WaitGroup
}

// line is the work of one user.
type line struct {
	waiting []func()
	running int
	bucket  Bucket
	isReady bool
	// wake ends the throttling; nil: not throttled.
	wake *time.Timer
}

// NewQueue returns an empty Queue.
func NewQueue(cfg QueueConfig) *Queue {
	return &Queue{cfg: cfg, users: make(map[uint32]*line), sweepAt: minSweep}
}

// Submit queues work for a user. It does not wait. Work of one user starts in the order of submission. After Close it does
// nothing.
func (q *Queue) Submit(user uint32, work func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	l := q.users[user]
	if l == nil {
		q.sweep()
		l = &line{}
		q.users[user] = l
	}
	l.waiting = append(l.waiting, work)
	q.offer(l)
}

// Close drops the work that waits, and returns when all that runs has ended.
func (q *Queue) Close() {
	q.mu.Lock()
	q.closed, q.ready = true, nil
	for _, l := range q.users {
		l.waiting = nil
		if l.wake != nil {
			l.wake.Stop()
		}
	}
	q.mu.Unlock()
	q.ended.Wait()
}

// sweep drops the users without work and without debt when their number has doubled since the last time.
func (q *Queue) sweep() {
	if len(q.users) < q.sweepAt {
		return
	}
	now := time.Now()
	for user, l := range q.users {
		if l.running == 0 && len(l.waiting) == 0 && !l.bucket.paidAt.After(now) {
			delete(q.users, user)
		}
	}
	q.sweepAt = max(minSweep, 2*len(q.users))
}

// offer gives a user a turn if its next work may start, and the turn a worker if one is free. A user in debt gets its turn
// when it has credit again.
func (q *Queue) offer(l *line) {
	if q.closed || l.isReady || l.wake != nil || len(l.waiting) == 0 || l.running >= q.cfg.PerUser {
		return
	}
	now := time.Now()
	if until := l.bucket.ThrottledUntil(q.cfg.Limit, now); !until.IsZero() {
		l.wake = time.AfterFunc(until.Sub(now), func() { q.unthrottle(l) })
		return
	}
	l.isReady = true
	q.ready = append(q.ready, l)
	if q.workers < q.cfg.Workers {
		q.workers++
		q.ended.Go(q.work)
	}
}

func (q *Queue) unthrottle(l *line) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l.wake = nil
	q.offer(l)
}

// work is one worker: it runs the next work of the user whose turn it is, until no work may start.
func (q *Queue) work() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.ready) > 0 {
		l := q.ready[0]
		q.ready[0] = nil
		q.ready = q.ready[1:]
		work := l.waiting[0]
		l.waiting[0] = nil
		l.waiting = l.waiting[1:]
		l.isReady = false
		l.running++
		q.offer(l)
		q.mu.Unlock()
		start := time.Now()
		work()
		now := time.Now()
		q.mu.Lock()
		l.bucket.Charge(q.cfg.Limit, now.Sub(start), now)
		l.running--
		q.offer(l)
	}
	q.workers--
}
