// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/sys"
)

const (
	// mostStuck is how many look-ups of one user may wait for file systems that do not answer. Each
	// holds a thread of this process for as long as that lasts.
	mostStuck = 4
	// share of a core is what the looks for one user may cost in the long run, burst what they may cost
	// at once: some thousand looks, so that a user is noticed who has his files change without end, and
	// nobody else.
	share = 0.05
	burst = time.Second
)

// owner is what the ways of one user may cost. It is safe for concurrent use.
type owner struct {
	slots chan struct{}

	mu sync.Mutex // guards the rest
	// credit is what may be spent; what was overspent has to be waited for.
	credit time.Duration
	since  time.Time
}

func newOwner() *owner {
	return &owner{slots: make(chan struct{}, mostStuck), credit: burst, since: time.Now()}
}

// do runs ask, which may block for as long as a file system does not answer. It reports false when
// stop was closed before ask had its turn.
func (o *owner) do(stop <-chan struct{}, ask func()) bool {
	if !o.afford(stop) {
		return false
	}
	select {
	case o.slots <- struct{}{}:
	case <-stop:
		return false
	}
	defer func() { <-o.slots }()
	o.spend(cost(ask))
	return true
}

// afford waits until what was overspent is made up for.
func (o *owner) afford(stop <-chan struct{}) bool {
	debt := -o.spend(0)
	return debt <= 0 || !sys.WaitFor(stop, time.Duration(float64(debt)/share))
}

// spend takes what was used from the credit, and says what is left of it.
func (o *owner) spend(used time.Duration) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	o.credit = min(burst, o.credit+time.Duration(float64(now.Sub(o.since))*share)) - used
	o.since = now
	return o.credit
}

// cost is the processor time that f takes. Waiting costs nothing.
func cost(f func()) time.Duration {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := threadTime()
	f()
	return threadTime() - before
}

// threadTime is the processor time of this thread since it began.
func threadTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}
