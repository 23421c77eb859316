// SPDX-License-Identifier: MIT

// Package budget limits how much of the program's time each user gets.
//
// A [Bucket] is the debt of one user: its cost is known only after the work, and may exceed the burst. A [Meter] has one
// bucket for each user. A [Queue] runs work that may block in workers: users in turn, a few workers for each, and a user in
// debt waits. However slow the processes and file systems of a user are, the work for other users goes on.
package budget

import (
	"sync"
	"time"
)

// QueueConfig bounds a [Queue].
type QueueConfig struct {
	// Workers is how many pieces of work run at a time, and PerUser how many of them for one user.
	Workers, PerUser int
	// Limit throttles users with work that takes long. Waiting work of a throttled user stays queued.
	Limit Limit
}

// Queue runs work in goroutines of its own. Users take turns: between the submission of the first work of a user and its
// start, each other user starts one at most. It is safe for concurrent use.
type Queue struct {
	cfg QueueConfig

	mu sync.Mutex // guards the rest
	// users has those with work that waits or runs, and those in debt. Those without either are dropped when there are
	// sweepAt.
	users   map[User]*line
	sweepAt int
	// ready are the users that may start their next work, in turn. Each is in it once.
	ready []*line
	// workers counts the goroutines; each runs work.
	workers int
	closed  bool
	ended   sync.WaitGroup
}

// line is the work of one user.
type line struct {
	// first goes before waiting.
	first, waiting []func()
	running        int
	bucket         Bucket
	isReady        bool
	// wake ends the throttling; nil: not throttled.
	wake *time.Timer
}

// NewQueue returns an empty Queue.
func NewQueue(cfg QueueConfig) *Queue {
	return &Queue{cfg: cfg, users: make(map[User]*line), sweepAt: minSweep}
}

// Submit queues work for a user. It does not wait. Work of one user starts in the order of submission. After Close it does
// nothing.
func (q *Queue) Submit(user User, work func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if l := q.line(user); l != nil {
		l.waiting = append(l.waiting, work)
		q.offer(l)
	}
}

// SubmitFirst is Submit for work that starts before what Submit has queued for the same user. It delays no other user.
func (q *Queue) SubmitFirst(user User, work func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if l := q.line(user); l != nil {
		l.first = append(l.first, work)
		q.offer(l)
	}
}

// line is the work of a user; nil after Close.
func (q *Queue) line(user User) *line {
	if q.closed {
		return nil
	}
	l := q.users[user]
	if l == nil {
		q.sweep()
		l = &line{}
		q.users[user] = l
	}
	return l
}

func (l *line) isEmpty() bool { return len(l.first) == 0 && len(l.waiting) == 0 }

// next takes the work that is next. There must be some.
func (l *line) next() func() {
	from := &l.waiting
	if len(l.first) > 0 {
		from = &l.first
	}
	work := (*from)[0]
	(*from)[0] = nil
	*from = (*from)[1:]
	return work
}

// Close drops the work that waits, and returns when all that runs has ended.
func (q *Queue) Close() {
	q.mu.Lock()
	q.closed, q.ready = true, nil
	for _, l := range q.users {
		l.first, l.waiting = nil, nil
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
		if l.running == 0 && l.isEmpty() && !l.bucket.paidAt.After(now) {
			delete(q.users, user)
		}
	}
	q.sweepAt = max(minSweep, 2*len(q.users))
}

// offer gives a user a turn if its next work may start, and the turn a worker if one is free. A user in debt gets its turn
// when it has credit again.
func (q *Queue) offer(l *line) {
	if q.closed || l.isReady || l.wake != nil || l.isEmpty() || l.running >= q.cfg.PerUser {
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

// work is one worker: it runs the next work of the next user in turn, until no work may start.
func (q *Queue) work() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.ready) > 0 {
		l := q.ready[0]
		q.ready[0] = nil
		q.ready = q.ready[1:]
		work := l.next()
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
