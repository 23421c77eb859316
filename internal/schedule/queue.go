// SPDX-License-Identifier: MIT

// Package schedule says what is due when: one timer heap for everything that happens without an event, with a backoff for
// each key, and a throttle for work that must leave time for the rest. It is pure: it reads no clock and starts no timer.
// Nothing in it is safe for concurrent use.
package schedule

import (
	"container/heap"
	"time"
)

// Backoff says how the delay between two tries grows: it doubles.
type Backoff struct {
	// First is the delay before the first try, and Max bounds it.
	First, Max time.Duration
	// Patience is how long tries go on.
	Patience time.Duration
}

// Queue has at most one entry for each key. An entry is due once, at its time; see [Queue.PopDue].
type Queue[K comparable] struct {
	backoff Backoff
	entries map[K]*entry[K]
	heap    timers[K]
	// number is that of the latest Set: entries with the same time are due in the order in which they were set.
	number uint64
}

// entry is one key.
type entry[K comparable] struct {
	key K
	at  time.Time
	// delay is the last delay of the backoff, and since when the backoff began; 0: there is none.
	delay time.Duration
	since time.Time

	number uint64
	// index is the place in the heap; -1: not in it.
	index int
}

// NewQueue returns an empty Queue.
func NewQueue[K comparable](b Backoff) *Queue[K] {
	return &Queue[K]{backoff: b, entries: make(map[K]*entry[K])}
}

// SetPatience sets the patience of the backoff, also for keys that are due already.
func (q *Queue[K]) SetPatience(d time.Duration) { q.backoff.Patience = d }

// Set makes a key due at a time, instead of any other. A backoff ends.
func (q *Queue[K]) Set(key K, at time.Time) {
	e := q.entry(key)
	e.delay, e.since = 0, time.Time{}
	q.set(e, at)
}

// Start makes a key due after the first delay of a backoff that begins now.
func (q *Queue[K]) Start(key K, now time.Time) {
	e := q.entry(key)
	e.delay, e.since = q.backoff.First, now
	q.set(e, now.Add(e.delay))
}

// Retry makes a key due after the next delay of its backoff, which begins now if there is none. It reports false, and the
// key is not due any more, once the patience is over. The backoff is kept then, so that the patience does not begin anew.
func (q *Queue[K]) Retry(key K, now time.Time) bool {
	e := q.entries[key]
	switch {
	case e == nil || e.delay == 0:
		q.Start(key, now)
	case now.Sub(e.since) > q.backoff.Patience:
		q.unset(e)
		return false
	default:
		q.later(e, now)
	}
	return true
}

// Poll makes a key due after the next delay of its backoff, at the latest at end, whatever the patience is.
func (q *Queue[K]) Poll(key K, now, end time.Time) {
	e := q.entry(key)
	if e.delay == 0 {
		e.delay, e.since = q.backoff.First/2, now
	}
	q.later(e, now)
	if e.at.After(end) {
		q.set(e, end)
	}
}

// later makes an entry due after its next delay.
func (q *Queue[K]) later(e *entry[K], now time.Time) {
	e.delay = min(2*e.delay, q.backoff.Max)
	q.set(e, now.Add(e.delay))
}

// Postpone makes a key due at a time. Its backoff stays as it is.
func (q *Queue[K]) Postpone(key K, at time.Time) { q.set(q.entry(key), at) }

// Remove forgets a key with its backoff.
func (q *Queue[K]) Remove(key K) {
	if e := q.entries[key]; e != nil {
		q.unset(e)
		delete(q.entries, key)
	}
}

// Next is when the next key is due; zero: none will be.
func (q *Queue[K]) Next() time.Time {
	if len(q.heap) == 0 {
		return time.Time{}
	}
	return q.heap[0].at
}

// PopDue takes the keys that are due, in the order of their times. The backoff of a key goes on with the next Retry or Poll.
func (q *Queue[K]) PopDue(now time.Time) []K {
	var due []K
	for len(q.heap) > 0 && !q.heap[0].at.After(now) {
		e := q.heap[0]
		q.unset(e)
		if e.delay == 0 {
			delete(q.entries, e.key)
		}
		due = append(due, e.key)
	}
	return due
}

func (q *Queue[K]) entry(key K) *entry[K] {
	e := q.entries[key]
	if e == nil {
		e = &entry[K]{key: key, index: -1}
		q.entries[key] = e
	}
	return e
}

func (q *Queue[K]) set(e *entry[K], at time.Time) {
	q.number++
	e.at, e.number = at, q.number
	if e.index < 0 {
		heap.Push(&q.heap, e)
	} else {
		heap.Fix(&q.heap, e.index)
	}
}

func (q *Queue[K]) unset(e *entry[K]) {
	if e.index >= 0 {
		heap.Remove(&q.heap, e.index)
	}
}

// timers implements [heap.Interface].
type timers[K comparable] []*entry[K]

func (t timers[K]) Len() int { return len(t) }

func (t timers[K]) Less(i, j int) bool {
	if c := t[i].at.Compare(t[j].at); c != 0 {
		return c < 0
	}
	return t[i].number < t[j].number
}

func (t timers[K]) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].index, t[j].index = i, j
}

func (t *timers[K]) Push(x any) {
	e := x.(*entry[K])
	e.index = len(*t)
	*t = append(*t, e)
}

func (t *timers[K]) Pop() any {
	last := len(*t) - 1
	e := (*t)[last]
	(*t)[last] = nil
	*t = (*t)[:last]
	e.index = -1
	return e
}

// Throttle paces work that is asked for at any rate, and that leaves time for the rest: after work that took d there is a
// pause of Factor*d, and of Min at least.
type Throttle struct {
	Factor int
	Min    time.Duration

	notBefore time.Time
}

// Done notes that work began at start and ended now.
func (t *Throttle) Done(start, now time.Time) {
	t.notBefore = now.Add(max(t.Min, time.Duration(t.Factor)*now.Sub(start)))
}

// Next is when the work may be done that is asked for at a time: then, or at the end of the pause.
func (t *Throttle) Next(at time.Time) time.Time {
	if t.notBefore.After(at) {
		return t.notBefore
	}
	return at
}
