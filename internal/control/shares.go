// SPDX-License-Identifier: MIT

//go:build linux

package control

import (
	"context"
	"maps"
	"sync"
	"time"

	"ebpf-upgrader/internal/sys"
)

const (
	// maxStreams limits the streams of events to peers that are no operators, and maxStreamsPerUser those of one user.
	maxStreams, maxStreamsPerUser = 32, 4
	// leaveTimes is how many times the duration of an answer is left for others before the next one to the same user, and
	// maxCharge limits the duration that counts.
	leaveTimes, maxCharge = 10, 100 * time.Millisecond
	// A user may act so many times in that time: an act may wait for a disk, and is kept.
	actsAllowed, actsWithin = 10, 10 * time.Second
)

// shares limits what each user takes of the service. Operators have no limit. It is safe for concurrent use.
type shares struct {
	mu      sync.Mutex // guards the rest
	streams map[uint32]int
	total   int
	// next is when the next answer to a user may begin. Entries of the past are removed at times.
	next map[uint32]time.Time
	// acts counts those of each user since actsBegan.
	acts      map[uint32]int
	actsBegan time.Time
	// rounds has an entry while a round for one of them is made, and for some time after it.
	rounds chan struct{}
}

func newShares() *shares {
	return &shares{streams: make(map[uint32]int), next: make(map[uint32]time.Time), rounds: make(chan struct{}, 1)}
}

// round waits until a round for a peer may begin, or ctx ends. done says that the round is over. Most of the time is left
// without such rounds: each inspects the servers of all users.
func (s *shares) round(ctx context.Context, p peer) (done func(), err error) {
	if p.role == operator {
		return func() {}, nil
	}
	select {
	case s.rounds <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	began := time.Now()
	return func() { time.AfterFunc(leaveTimes*min(time.Since(began), maxCharge), func() { <-s.rounds }) }, nil
}

// act counts an act of a peer, and reports whether there were few enough.
func (s *shares) act(p peer, now time.Time) bool {
	if p.role == operator {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.actsBegan) >= actsWithin {
		s.actsBegan, s.acts = now, make(map[uint32]int)
	}
	s.acts[p.uid]++
	return s.acts[p.uid] <= actsAllowed
}

// stream takes a stream for a peer, and returns what gives it back.
func (s *shares) stream(p peer) (done func(), ok bool) {
	if p.role == operator {
		return func() {}, true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.total >= maxStreams || s.streams[p.uid] >= maxStreamsPerUser {
		return nil, false
	}
	s.total++
	s.streams[p.uid]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.total--
		if s.streams[p.uid]--; s.streams[p.uid] == 0 {
			delete(s.streams, p.uid)
		}
	}, true
}

// wait waits until the next answer to a peer may begin, or ctx ends.
func (s *shares) wait(ctx context.Context, p peer) {
	if p.role == operator {
		return
	}
	s.mu.Lock()
	left := time.Until(s.next[p.uid])
	s.mu.Unlock()
	if left > 0 {
		sys.WaitFor(ctx.Done(), left)
	}
}

// charge counts the duration of an answer to a peer.
func (s *shares) charge(p peer, took time.Duration) {
	if p.role == operator {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now, next := time.Now(), s.next[p.uid]
	if next.Before(now) {
		next = now
	}
	if len(s.next) > maxConns {
		maps.DeleteFunc(s.next, func(_ uint32, t time.Time) bool { return t.Before(now) })
	}
	s.next[p.uid] = next.Add(leaveTimes * min(took, maxCharge))
}
