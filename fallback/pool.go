// SPDX-License-Identifier: MIT

//go:build linux

package fallback

import (
	"context"
	"errors"
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
	// checkInterval is the time between two checks for stuck reads.
	checkInterval = 10 * time.Millisecond
	// readTimeout is how long one read may take. After that the process is reported as a candidate, and another reader
	// takes over the rest of the batch.
	readTimeout = 100 * time.Millisecond
	// userQuota is the time that reads of one user's processes may take in one scan. The other processes of a user over
	// quota are reported as candidates without a read.
	userQuota = 250 * time.Millisecond
)

// pool reads command lines on all cores. A reader is abandoned and replaced when its read takes too long.
type pool struct {
	*Scanner
	listed  <-chan []selector.PID
	readers sync.WaitGroup

	// hasOverQuota is true once a user is over quota. Until then no owner is looked up, which costs as much as the read.
	hasOverQuota atomic.Bool

	mu     sync.Mutex // guards the rest
	active map[*reader]bool
	found  []selector.PID
	// spent is the wall time that slow reads took, by user. A read that waits for a processor counts, too: the only cost
	// of an error is that a process is reported as a candidate without a read.
	spent map[selector.User]time.Duration
}

// reader is one goroutine of a pool. When it finishes, the pool takes over what it found.
type reader struct {
	pool *pool
	// step is even between two reads and odd during a read. It is abandoned once the pool has replaced the reader.
	step  atomic.Int64
	pids  []selector.PID
	found []selector.PID
	// done is closed when the read of an abandoned reader ends.
	done chan struct{}

	// seenStep and seenAt belong to replaceStuck: the step that it saw last, and when it changed.
	seenStep int64
	seenAt   time.Time
}

// abandoned is the step of a reader that the pool has replaced.
const abandoned = -1

// spawn starts a reader, which reads pids first and then what is listed.
func (p *pool) spawn(ctx context.Context, pids []selector.PID) {
	r := &reader{pool: p, pids: pids, done: make(chan struct{}), seenAt: time.Now()}
	p.mu.Lock()
	p.active[r] = true
	p.mu.Unlock()
	p.readers.Add(1)
	go r.run(ctx)
}

// run returns when no process is left, or when the reader was abandoned.
func (r *reader) run(ctx context.Context) {
	runtime.LockOSThread() // makes a scan a tenth faster (docs/BENCHMARKS.md)
	defer runtime.UnlockOSThread()
	buf := make([]byte, firstRead)
	for isListed := true; isListed; r.pids, isListed = <-r.pool.listed {
		for ; len(r.pids) > 0 && ctx.Err() == nil; r.pids = r.pids[1:] {
			isCandidate, isAbandoned := r.read(r.pids[0], buf)
			if isAbandoned {
				return
			}
			if isCandidate {
				r.found = append(r.found, r.pids[0])
			}
		}
	}
	r.pool.finish(r)
}

// read reports whether a process may be a server, or that the reader was abandoned during the read. An abandoned reader
// must not use the proc file system any more: it may be closed.
func (r *reader) read(pid selector.PID, buf []byte) (isCandidate, isAbandoned bool) {
	p := r.pool
	if !p.procfs.MayRead(pid) || p.isOverQuota(pid) {
		return true, false
	}
	step := r.step.Add(1)
	start := time.Now()
	isServer, err := p.procfs.MayBeServer(pid, p.pattern, buf)
	if !r.step.CompareAndSwap(step, step+1) {
		close(r.done)
		return false, true
	}
	p.charge(pid, time.Since(start), nil)
	// One that cannot be read may be a server. One that has ended meanwhile is none.
	return isServer || err != nil && !errors.Is(err, procfs.ErrGone), false
}

// isOverQuota reports whether the user of a process is over quota. A process that has ended is not: the read reports it.
func (p *pool) isOverQuota(pid selector.PID) bool {
	if !p.hasOverQuota.Load() {
		return false
	}
	_, user, err := p.procfs.User(pid)
	if err != nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.spent[user] >= userQuota
}

// charge adds the time of a slow read to what its user has spent. done is as in [procfs.FS.ChargeRead].
func (p *pool) charge(pid selector.PID, took time.Duration, done chan struct{}) {
	user, isSlow := p.procfs.ChargeRead(pid, took, done)
	if !isSlow {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.spent[user] += took; p.spent[user] >= userQuota {
		p.hasOverQuota.Store(true)
	}
}

// finish takes over what a reader has found.
func (p *pool) finish(r *reader) {
	p.mu.Lock()
	delete(p.active, r)
	p.found = append(p.found, r.found...)
	p.mu.Unlock()
	p.readers.Done()
}

// watch replaces readers that are stuck, until all readers have finished.
func (p *pool) watch(ctx context.Context, finished <-chan struct{}) {
	tick := time.NewTicker(checkInterval)
	defer tick.Stop()
	for {
		select {
		case <-finished:
			return
		case now := <-tick.C:
			p.replaceStuck(ctx, now)
		}
	}
}

// replaceStuck abandons the readers with a read that has timed out. Their processes are candidates.
func (p *pool) replaceStuck(ctx context.Context, now time.Time) {
	p.mu.Lock()
	active := slices.Collect(maps.Keys(p.active))
	p.mu.Unlock()
	for _, r := range active {
		step := r.step.Load()
		isReading := step%2 == 1
		switch {
		case step != r.seenStep || !isReading:
			r.seenStep, r.seenAt = step, now
		case now.Sub(r.seenAt) >= readTimeout && r.step.CompareAndSwap(step, abandoned):
			p.charge(r.pids[0], now.Sub(r.seenAt), r.done)
			p.spawn(ctx, r.pids[1:])
			r.found = append(r.found, r.pids[0])
			p.finish(r)
		}
	}
}
