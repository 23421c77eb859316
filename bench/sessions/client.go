// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"ebpf-upgrader/test/ragrat/agents"
)

// tally is what is counted of calls.
type tally struct {
	calls, lost, refused, failed int
	// worst is the longest call that was answered.
	worst time.Duration
}

func (t *tally) add(other tally) {
	t.calls += other.calls
	t.lost += other.lost
	t.refused += other.refused
	t.failed += other.failed
	t.worst = max(t.worst, other.worst)
}

// client is one agent with its server.
type client struct {
	*agents.Session
	rhythm rhythm
	// execAt is when the server was first seen to run the file of the round.
	execAt time.Time

	mu sync.Mutex
	// calling is when the call began that is in flight, zero without one.
	calling time.Time
	tally   tally
}

// callOn calls in the client's rhythm until ctx ends or the server has.
func (c *client) callOn(ctx context.Context) {
	for n := 1; ctx.Err() == nil && !c.Gone(); n++ {
		c.callOnce()
		select {
		case <-ctx.Done():
		case <-c.Ended:
		case <-time.After(c.rhythm.pause(n)):
		}
	}
}

func (c *client) callOnce() {
	ctx, cancel := context.WithTimeout(context.Background(), c.rhythm.timeout())
	defer cancel()
	if c.rhythm == longCall {
		if err := holdUp(ctx, c.reads(), longTakes); err != nil {
			fmt.Fprintln(os.Stderr, "sessions:", err)
		}
	}
	begin := time.Now()
	c.mu.Lock()
	c.calling = begin
	c.mu.Unlock()
	answer, err := c.Call(ctx)
	gone := c.Gone() || answer == agents.Broken && c.ends()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calling = time.Time{}
	c.tally.calls++
	switch {
	case gone: // the call is lost with the session
	case answer == agents.Unanswered:
		c.tally.lost++
	case answer == agents.RefusedBySchema:
		c.tally.refused++
	case answer == agents.Broken:
		c.tally.failed++
		fmt.Fprintln(os.Stderr, "sessions: a call failed:", err)
	default:
		c.tally.worst = max(c.tally.worst, time.Since(begin))
	}
}

// ends says that the server does: its pipes are closed before it is known to have ended.
func (c *client) ends() bool {
	select {
	case <-c.Ended:
		return true
	case <-time.After(time.Second):
		return false
	}
}

// waits says that a call is in flight that began before a moment.
func (c *client) waits(before time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.calling.IsZero() && c.calling.Before(before)
}

// refused is how many calls were, so far.
func (c *client) refused() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tally.refused
}

// reads is a file that every call reads.
func (c *client) reads() string { return filepath.Join(c.Dir, "docs", "2.md") }

func (c *client) armed() bool { return agents.DispositionOf(c.PID()) == agents.Caught }

// look notes when the server runs a file.
func (c *client) look(file agents.Image) {
	if c.execAt.IsZero() && c.runs(file) {
		c.execAt = time.Now()
	}
}

func (c *client) runs(file agents.Image) bool {
	now, err := agents.ImageAt(fmt.Sprintf("/proc/%d/exe", c.PID()))
	return err == nil && now == file
}
