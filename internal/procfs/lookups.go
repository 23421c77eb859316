// SPDX-License-Identifier: MIT

//go:build linux

package procfs

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/budget"
	"ebpf-upgrader/internal/sys"
	"ebpf-upgrader/selector"
)

const (
	// fileTimeout is how long an inspection waits for a file system. A slower result serves the next inspection.
	fileTimeout = 25 * time.Millisecond
	// memoryTimeout is how long an inspection waits for the memory of a process. Reading it is slow only where a process
	// holds the lock on it.
	memoryTimeout = 100 * time.Millisecond
	// freeRead is longer than a read of memory takes without lock contention and overload. It is not charged, and is
	// granted to a user in debt, too.
	freeRead = 5 * time.Millisecond
	// resultTTL is how long a late result is kept. It serves every inspection of that time: the inspection of a process and
	// the one right before its signal get the same result.
	resultTTL = 2 * time.Second
	// starvedFactor is how many times the timeout an inspection waits while its thread waits for a processor.
	starvedFactor = 8
)

// waitLimit bounds the time that inspections wait for the file systems and processes of one user: a quarter in the long
// run. Servers of other users are inspected in the rest.
func waitLimit() budget.Limit { return budget.Limit{Factor: 4, Burst: 500 * time.Millisecond} }

var (
	errFileTimeout   = errors.New("the file system does not answer")
	errMemoryTimeout = errors.New("the process blocks reads of its memory")
	errTooManyStuck  = errors.New("too many file systems or processes of this user do not answer")
)

// isTemporary reports whether err is a timeout: a later inspection may succeed.
func isTemporary(err error) bool {
	return errors.Is(err, errFileTimeout) || errors.Is(err, errMemoryTimeout) || errors.Is(err, errTooManyStuck)
}

// lookupKey names what is read about a process: a file that it sees, or its memory.
type lookupKey struct {
	id   selector.Identity
	view selector.View
	name string
}

// result is the outcome of a lookup. file and err may be read once done is closed.
type result struct {
	done    chan struct{}
	started time.Time
	file    selector.File
	err     error
}

func newResult() *result { return &result{done: make(chan struct{}), started: time.Now()} }

// waitFor runs do in a goroutine, and reports whether it has ended within limit. A thread that waits for a processor, as on an
// overloaded machine, waits for no process or file system: it gets starvedFactor times the limit. charged is the time that
// counts.
func (r *result) waitFor(limit time.Duration, do func()) (isDone bool, charged time.Duration) {
	var thread atomic.Int64
	go func() {
		defer close(r.done)
		thread.Store(int64(unix.Gettid()))
		do()
	}()
	for range starvedFactor {
		if isDone = sys.WaitFor(r.done, limit); isDone || isBlocked(thread.Load()) {
			break
		}
	}
	return isDone, min(time.Since(r.started), limit)
}

// isBlocked reports whether a thread of this program waits in a system call of a lookup. One that runs, or waits for a processor,
// is in none, and neither is a goroutine that waits for its turn in the Go scheduler. Thread 0 is yet to start, and the calling
// thread runs another goroutine by now.
//
// The goroutine is not locked to the thread: the scheduler would hand a locked one over to its thread, which waits for a processor
// first on an overloaded machine. One that has moved on is judged by its former thread. An inspection that ends too early by that
// is repeated.
func isBlocked(thread int64) bool {
	if thread == 0 || thread == int64(unix.Gettid()) {
		return false
	}
	self, err := unix.Open("/proc/self", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return true
	}
	defer func() { _ = unix.Close(self) }()
	number, err := syscallOf(self, selector.PID(thread))
	return err != nil || slices.Contains(lookupCalls, number)
}

// lookupCalls are the system calls of lookups and of reads of memory.
var lookupCalls = []int{
	unix.SYS_CLOSE, unix.SYS_FSTATFS, unix.SYS_OPENAT, unix.SYS_OPENAT2, unix.SYS_READ, unix.SYS_READLINKAT, unix.SYS_STATX,
}

// lookups runs reads that may block for ever, each in a goroutine of its own. It is safe for concurrent use.
type lookups struct {
	meter *budget.Meter

	mu sync.Mutex // guards the rest
	// abandoned has the lookups that timed out: each until it ends, and the result for some time after.
	abandoned map[lookupKey]*result
	// stuck counts the abandoned lookups that have not ended, by user.
	stuck map[selector.User]int

	// stuckReads counts the reads of memory among them, and usersAtLimit the users with budget.MaxStuck. throttledUntil is when no
	// user is in debt any more, in ns since 1970. All of them are written with mu held, and read without.
	stuckReads, usersAtLimit, throttledUntil atomic.Int64
}

func newLookups() *lookups {
	return &lookups{meter: budget.NewMeter(waitLimit()), abandoned: make(map[lookupKey]*result), stuck: make(map[selector.User]int)}
}

// run returns the outcome of find, which looks up a file for the owner. After the timeout it fails with errFileTimeout, and
// the result serves a later call with the same key, unless that call asks for a lookup that started later than since. run
// owns fd, on which find works, and closes it when find has ended. An abandoned goroutine ends when the file system answers
// or is unmounted.
func (l *lookups) run(key lookupKey, owner selector.User, since time.Time, fd int, find func() (selector.File, error)) (*result, error) {
	late, limit, err := l.admit(key, owner, since, fileTimeout)
	if err != nil || late != nil {
		return late, errors.Join(err, unix.Close(fd))
	}
	r := newResult()
	isDone, charged := r.waitFor(limit, func() {
		r.file, r.err = find()
		_ = unix.Close(fd)
	})
	l.charge(owner, charged)
	if !isDone && !l.abandon(key, owner, r, resultTTL) {
		return nil, errFileTimeout
	}
	return r, nil
}

// admit returns the late result for a key, unless it started before since; else how long a new lookup may take, which is
// the timeout at most, and less for a user that is close to debt.
func (l *lookups) admit(key lookupKey, owner selector.User, since time.Time, timeout time.Duration) (*result, time.Duration, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.abandoned[key]; r != nil {
		select {
		case <-r.done:
			if !r.started.Before(since) {
				return r, 0, nil
			}
			delete(l.abandoned, key)
		default:
			return nil, 0, errFileTimeout
		}
	}
	if l.stuck[owner] >= budget.MaxStuck {
		return nil, 0, errTooManyStuck
	}
	return nil, max(0, min(timeout, l.meter.Credit(owner, time.Now()))), nil
}

// charge adds the time that an inspection waited to the debt of the owner.
func (l *lookups) charge(owner selector.User, took time.Duration) {
	now := time.Now()
	l.meter.Charge(owner, took, now)
	until := l.meter.ThrottledUntil(owner, now)
	if until.IsZero() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.throttledUntil.Store(max(l.throttledUntil.Load(), until.UnixNano()))
}

// abandon stops waiting for a lookup, unless it has ended by now, which it reports. The result is kept for ttl.
func (l *lookups) abandon(key lookupKey, owner selector.User, r *result, ttl time.Duration) (isDone bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-r.done:
		return true
	default:
	}
	l.abandoned[key] = r
	l.countStuck(key, owner, 1)
	go l.awaitAbandoned(key, owner, r, ttl)
	return false
}

// countStuck adds by, which is 1 or -1.
func (l *lookups) countStuck(key lookupKey, owner selector.User, by int) {
	before := l.stuck[owner]
	after := before + by
	if l.stuck[owner] = after; after == 0 {
		delete(l.stuck, owner)
	}
	switch {
	case before < budget.MaxStuck && after >= budget.MaxStuck:
		l.usersAtLimit.Add(1)
	case before >= budget.MaxStuck && after < budget.MaxStuck:
		l.usersAtLimit.Add(-1)
	}
	if key.name == memoryName {
		l.stuckReads.Add(int64(by))
	}
}

// awaitAbandoned drops the result of an abandoned lookup ttl after the lookup has ended.
func (l *lookups) awaitAbandoned(key lookupKey, owner selector.User, r *result, ttl time.Duration) {
	<-r.done
	l.mu.Lock()
	defer l.mu.Unlock()
	l.countStuck(key, owner, -1)
	if ttl > 0 {
		l.mu.Unlock()
		time.Sleep(ttl)
		l.mu.Lock()
	}
	if l.abandoned[key] == r {
		delete(l.abandoned, key)
	}
}
