// SPDX-License-Identifier: MIT

// Package budget limits how much of the program's time each user gets.
//
// A [Meter] has the debt of each user: the cost of work is known only afterwards, and may exceed the burst. A [Queue] runs work that may block in workers: users in turn, a few workers for each, and a user in
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
	cfg   QueueConfig
	debts *Meter

	mu sync.Mutex // guards the rest
	// users has those with work that waits or runs.
	users map[User]*line
	// ready are the users that may start their next work, in turn. Each is in it once.
	ready []*line
	// workers counts the goroutines; each runs work.
	workers int
	closed  bool
	ended   sync.WaitGroup
}

// line is the work of one user.
type line struct {
	user User
	// first goes before waiting.
	first, waiting []func()
	running        int
	isReady        bool
	// wake ends the throttling; nil: not throttled.
	wake *time.Timer
}

// NewQueue returns an empty Queue.
func NewQueue(cfg QueueConfig) *Queue {
	return &Queue{cfg: cfg, debts: NewMeter(cfg.Limit), users: make(map[User]*line)}
}

// Submit queues work for a user. It does not wait. Work of one user starts in the order of submission. After Close it does
// nothing.
func (q *Queue) Submit(user User, work func()) {
	q.submit(user, func(l *line) { l.waiting = append(l.waiting, work) })
}

// SubmitFirst is Submit for work that starts before what Submit has queued for the same user. It delays no other user.
func (q *Queue) SubmitFirst(user User, work func()) {
	q.submit(user, func(l *line) { l.first = append(l.first, work) })
}

func (q *Queue) submit(user User, add func(*line)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	l := q.users[user]
	if l == nil {
		l = &line{user: user}
		q.users[user] = l
	}
	add(l)
	q.offer(l)
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

// offer gives a user a turn if its next work may start, and the turn a worker if one is free. A user in debt gets its turn
// when it has credit again.
func (q *Queue) offer(l *line) {
	if q.closed || l.isReady || l.wake != nil || l.isEmpty() || l.running >= q.cfg.PerUser {
		return
	}
	now := time.Now()
	if until := q.debts.ThrottledUntil(l.user, now); !until.IsZero() {
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
		q.debts.Charge(l.user, now.Sub(start), now)
		l.running--
		q.offer(l)
		if l.running == 0 && l.isEmpty() {
			delete(q.users, l.user)
		}
	}
	q.workers--
}
