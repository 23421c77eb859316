// SPDX-License-Identifier: MIT

//go:build linux

package agents

import (
	"context"
	"sync"
	"time"
)

// Rhythm says when a client calls.
type Rhythm struct {
	// Pause returns the time between the end of call n, counted from 1, and the next call.
	Pause func(n int) time.Duration
	// Timeout is how long the client waits for an answer.
	Timeout time.Duration
	// Prepare runs before each call, unless it is nil.
	Prepare func(ctx context.Context) error
}

// Tally counts calls.
type Tally struct {
	// Calls counts all. Lost ones had no answer from a server that lives. Refused ones met an index that a newer version
	// has migrated. Failed ones were answered with another error.
	Calls, Lost, Refused, Failed int
	// Worst is the longest time until an answer without an error.
	Worst time.Duration
}

// Add adds the counts of another tally.
func (t *Tally) Add(other Tally) {
	t.Calls += other.Calls
	t.Lost += other.Lost
	t.Refused += other.Refused
	t.Failed += other.Failed
	t.Worst = max(t.Worst, other.Worst)
}

// Client calls its server again and again, as an agent does, and counts. Its methods are safe for concurrent use.
type Client struct {
	*Session
	rhythm Rhythm
	// report gets the error of a preparation or a call that failed.
	report func(error)

	mu sync.Mutex // guards the rest
	// callBegan is the start of the call in flight; zero without one.
	callBegan time.Time
	tally     Tally
}

// NewClient makes a client that does not call yet.
func NewClient(s *Session, r Rhythm, report func(error)) *Client {
	return &Client{Session: s, rhythm: r, report: report}
}

// CallUntil calls in the client's rhythm until ctx or the server ends. A call in flight is not cancelled.
func (c *Client) CallUntil(ctx context.Context) {
	for n := 1; ctx.Err() == nil && !c.Gone(); n++ {
		c.callOnce()
		select {
		case <-ctx.Done():
		case <-c.Ended:
		case <-time.After(c.rhythm.Pause(n)):
		}
	}
}

func (c *Client) callOnce() {
	ctx, cancel := context.WithTimeout(context.Background(), c.rhythm.Timeout)
	defer cancel()
	if c.rhythm.Prepare != nil {
		if err := c.rhythm.Prepare(ctx); err != nil {
			c.report(err)
		}
	}
	begin := time.Now()
	c.mu.Lock()
	c.callBegan = begin
	c.mu.Unlock()
	answer, err := c.Call(ctx)
	took := time.Since(begin)
	lostServer := c.Gone() || answer == Broken && c.endsSoon()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.callBegan = time.Time{}
	c.tally.Calls++
	switch {
	case lostServer: // the end of the session is counted, not the call
	case answer == Unanswered:
		c.tally.Lost++
	case answer == RefusedBySchema:
		c.tally.Refused++
	case answer == Broken:
		c.tally.Failed++
		c.report(err)
	default:
		c.tally.Worst = max(c.tally.Worst, took)
	}
}

// endsSoon reports whether the server is ending: its pipes are closed before its parent is told of the end.
func (c *Client) endsSoon() bool {
	select {
	case <-c.Ended:
		return true
	case <-time.After(time.Second):
		return false
	}
}

// InFlightSince reports whether a call is in flight that began before a moment.
func (c *Client) InFlightSince(before time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.callBegan.IsZero() && c.callBegan.Before(before)
}

// Tally returns the counts since the start or the last Reset.
func (c *Client) Tally() Tally {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tally
}

// Reset sets the counts to zero.
func (c *Client) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tally = Tally{}
}
