// SPDX-License-Identifier: MIT

//go:build linux

package fallback

import (
	"context"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ebpf-upgrader/internal/procfs"
	"ebpf-upgrader/selector"
)

const (
	// glance is the time between looks at those who read.
	glance = 10 * time.Millisecond
	// patience is how long one process may take until the others are read by somebody else. It is candidate
	// then.
	patience = 100 * time.Millisecond
	// portion is for how long the processes of one user may hold up readers in one scan. The rest of his are
	// candidates then, without being read.
	portion = 250 * time.Millisecond
)

// crew reads the command lines of processes, on all cores. One who is held up by a process is left behind, and
// another takes what he had before him.
type crew struct {
	scanner *Scanner
	listed  <-chan []selector.PID
	left    sync.WaitGroup

	// dear says that somebody's portion is used up.
	dear atomic.Bool

	mu      sync.Mutex // guards the rest
	readers map[*reader]bool
	found   []selector.PID
	// held is for how long readers have slept over the processes of each user.
	held map[uint32]time.Duration
}

// reader is one of the crew. What he has found is his own while he reads, and then everybody's.
type reader struct {
	crew *crew
	// step is even between two processes and odd while one is read; leftBehind says that nobody waits.
	step atomic.Int64
	// thread is that of the reader, and pid what he reads.
	thread atomic.Pointer[procfs.Thread]
	pid    atomic.Int32

	pids  []selector.PID
	found []selector.PID
	// done is closed when a read ends that nobody waits for.
	done chan struct{}

	// seen and since are when somebody last looked at step, and saw it change.
	seen  int64
	since time.Time
}

const leftBehind = -1

// hire has one more read: first pids, and then what is listed.
func (c *crew) hire(ctx context.Context, pids []selector.PID) {
	r := &reader{crew: c, pids: pids, done: make(chan struct{}), since: time.Now()}
	c.mu.Lock()
	c.readers[r] = true
	c.mu.Unlock()
	c.left.Add(1)
	go r.read(ctx)
}

// read ends when there is nothing left, or when the reader is left behind.
func (r *reader) read(ctx context.Context) {
	runtime.LockOSThread() // so that it can be told whether he sleeps
	defer runtime.UnlockOSThread()
	if thread, err := r.crew.scanner.procfs.Thread(); err == nil { // else nobody is charged
		r.thread.Store(&thread)
	}
	buf := make([]byte, firstRead)
	for {
		for ; len(r.pids) > 0 && ctx.Err() == nil; r.pids = r.pids[1:] {
			candidate, left := r.look(r.pids[0], buf)
			if left {
				return
			}
			if candidate {
				r.found = append(r.found, r.pids[0])
			}
		}
		pids, more := <-r.crew.listed
		if !more {
			r.crew.leave(r)
			return
		}
		r.pids = pids
	}
}

// look reports whether a process may be a server, or that the reader was left behind with it: he may touch
// nothing then, and not even the proc file system, which may be closed.
func (r *reader) look(pid selector.PID, buf []byte) (candidate, left bool) {
	s := r.crew.scanner
	if !s.procfs.Readable(pid) || r.crew.dear.Load() && r.crew.isDear(pid) {
		return true, false
	}
	r.pid.Store(int32(pid))
	step := r.step.Add(1)
	begin := time.Now()
	cmdline, err := s.procfs.Cmdline(pid, s.pattern, buf)
	if !r.step.CompareAndSwap(step, step+1) {
		close(r.done)
		return false, true
	}
	s.procfs.Slow(pid, time.Since(begin), nil)
	return s.mayBeServer(pid, cmdline, err), false
}

// isDear reports whether a process is one of a user whose portion is used up.
func (c *crew) isDear(pid selector.PID) bool {
	_, user, err := c.scanner.procfs.User(pid)
	return err == nil && c.holdsUp(user, 0) // who has ended holds up nobody
}

// holdsUp notes for how long a user's process has held up a reader, and reports whether it was his portion.
func (c *crew) holdsUp(user uint32, long time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held[user] += long
	return c.held[user] >= portion
}

// leave hands in what a reader has found.
func (c *crew) leave(r *reader) {
	c.mu.Lock()
	delete(c.readers, r)
	c.found = append(c.found, r.found...)
	c.mu.Unlock()
	c.left.Done()
}

// watch leaves behind who is held up, until all others have left.
func (c *crew) watch(ctx context.Context, all <-chan struct{}) {
	tick := time.NewTicker(glance)
	defer tick.Stop()
	for {
		select {
		case <-all:
			return
		case now := <-tick.C:
			c.charge()
			for _, r := range c.heldUp(now) {
				c.scanner.procfs.Slow(r.pids[0], now.Sub(r.since), r.done)
				c.hire(ctx, r.pids[1:])
				r.found = append(r.found, r.pids[0])
				c.leave(r)
			}
		}
	}
}

// charge has those pay for the time between two glances over whose processes readers sleep now, which they do as
// they wait for the lock on its memory (mmap_read_lock_killable in include/linux/mmap_lock.h, Linux 6.12). One who
// has no processor does not sleep.
func (c *crew) charge() {
	for _, r := range c.reading() {
		step, pid, thread := r.step.Load(), selector.PID(r.pid.Load()), r.thread.Load()
		if step%2 != 1 || thread == nil || !c.scanner.procfs.Sleeps(*thread) || r.step.Load() != step {
			continue
		}
		if _, user, err := c.scanner.procfs.User(pid); err == nil && c.holdsUp(user, glance) {
			c.dear.Store(true)
		}
	}
}

func (c *crew) reading() []*reader {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Keys(c.readers))
}

// heldUp are those whose process has not answered for too long. They will find that they are left behind.
func (c *crew) heldUp(now time.Time) (all []*reader) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for r := range c.readers {
		step := r.step.Load()
		reads := step%2 == 1
		switch {
		case step != r.seen || !reads:
			r.seen, r.since = step, now
		case now.Sub(r.since) >= patience && r.step.CompareAndSwap(step, leftBehind):
			all = append(all, r)
		}
	}
	return all
}
