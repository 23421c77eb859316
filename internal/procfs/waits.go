// SPDX-License-Identifier: MIT

//go:build linux

package procfs

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/sys"
	"ebpf-upgrader/selector"
)

const (
	// answerWithin is how long a look waits for a file system. What is slower answers the next look.
	answerWithin = 25 * time.Millisecond
	// memoryWithin is how long it waits for the memory of a process, which is slow only where somebody
	// makes it so, or where the machine has no time for us.
	memoryWithin = 100 * time.Millisecond
	// quick is more than reading takes where nobody makes it slow and the machine has a little time for us. It
	// costs nothing, and is waited for whatever the user has cost before.
	quick = 5 * time.Millisecond
	// keptFor is how long an answer is kept that nobody waited for. It serves every look of that time: who is
	// looked at, and looked at again before he is asked, gets one answer.
	keptFor = 2 * time.Second
	// mostStuck is how many look-ups for one user may wait for what does not answer. Each
	// holds a thread of this process for as long as that lasts.
	mostStuck = 4
	// share of the time is what looks may wait for the file systems and processes of one user in the long
	// run, and burst what they may wait at once: however many servers he has there, those of others have
	// their turn.
	share = 0.25
	burst = 500 * time.Millisecond
)

var (
	errNoAnswer  = errors.New("the file system does not answer")
	errHeld      = errors.New("the process has its memory held")
	errManyStuck = errors.New("too many file systems or processes of this user do not answer")
)

// isPassing tells what did not answer in time from what cannot be had.
func isPassing(err error) bool {
	return errors.Is(err, errNoAnswer) || errors.Is(err, errHeld) || errors.Is(err, errManyStuck)
}

// question is what is asked about a process: a file that it sees, or its memory.
type question struct {
	id   selector.Identity
	view selector.View
	name string
}

// reply is what a file system said, once it has.
type reply struct {
	known chan struct{}
	// asked is when the question was put.
	asked time.Time
	file  selector.File
	err   error
}

func newReply() *reply { return &reply{known: make(chan struct{}), asked: time.Now()} }

// account is what the file systems and processes of one user cost.
type account struct {
	stuck int
	// credit is what may be waited.
	credit time.Duration
	since  time.Time
}

// waits asks what may never answer. The zero value is ready for use.
type waits struct {
	mu sync.Mutex // guards the rest
	// late are the questions that somebody gave up on. Each is there until it is answered, and for some time after.
	late     map[question]*reply
	accounts map[uint32]*account

	// held counts the processes whose memory is waited for still, full the users for whom as much is waited for
	// as may be, and debt is until when somebody may have overdrawn his credit, in ns since 1970.
	held, full, debt atomic.Int64
}

// within returns what ask says of a file of the owner's, or gives up soon: the answer is kept for who asks
// next, unless he wants one to a question that was put since then. It is not nil where err is. It closes fd, on which
// ask works, when ask has ended. A goroutine that was given up ends when the file system answers or is unmounted.
func (w *waits) within(q question, owner uint32, since time.Time, fd int, ask func() (selector.File, error)) (*reply, error) {
	late, patience, err := w.begin(q, owner, since, answerWithin)
	if err != nil || late != nil {
		return late, errors.Join(err, unix.Close(fd))
	}
	r := newReply()
	answered := await(r, patience, func() {
		r.file, r.err = ask()
		_ = unix.Close(fd)
	})
	w.pay(owner, time.Since(r.asked))
	if !answered && !w.leave(q, owner, r, keptFor) {
		return nil, errNoAnswer
	}
	return r, nil
}

// await has a goroutine do something, and reports whether it did so in time.
func await(r *reply, patience time.Duration, do func()) bool {
	go func() {
		defer close(r.known)
		do()
	}()
	return sys.WaitFor(r.known, patience)
}

// begin gives the answer to a question that was asked before, but not before since, or how long to wait for it.
func (w *waits) begin(q question, owner uint32, since time.Time, most time.Duration) (*reply, time.Duration, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r := w.late[q]; r != nil {
		select {
		case <-r.known:
			if !r.asked.Before(since) {
				return r, 0, nil
			}
			delete(w.late, q)
		default:
			return nil, 0, errNoAnswer
		}
	}
	a := w.account(owner)
	if a.stuck >= mostStuck {
		return nil, 0, errManyStuck
	}
	return nil, max(0, min(most, a.credit)), nil
}

// account is that of a user. Those that are as new are forgotten, when there are many.
func (w *waits) account(owner uint32) *account {
	const many = 1024
	now := time.Now()
	if w.accounts == nil {
		w.accounts, w.late = make(map[uint32]*account), make(map[question]*reply)
	}
	a := w.accounts[owner]
	if a == nil {
		if len(w.accounts) >= many {
			w.forgetIdle(now)
		}
		a = &account{credit: burst, since: now}
		w.accounts[owner] = a
	}
	a.earn(now)
	return a
}

func (w *waits) forgetIdle(now time.Time) {
	for owner, a := range w.accounts {
		if a.earn(now); a.stuck == 0 && a.credit == burst {
			delete(w.accounts, owner)
		}
	}
}

func (a *account) earn(now time.Time) {
	a.credit = min(burst, a.credit+time.Duration(float64(now.Sub(a.since))*share))
	a.since = now
}

// pay has the owner pay for the time that was waited.
func (w *waits) pay(owner uint32, took time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a := w.account(owner)
	if a.credit -= took; a.credit <= 0 {
		w.debt.Store(time.Now().Add(time.Duration(float64(quick-a.credit) / share)).UnixNano())
	}
}

// leave gives up on an answer, which is kept for some time when it comes, and reports whether it has come by now.
func (w *waits) leave(q question, owner uint32, r *reply, keep time.Duration) (answered bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-r.known:
		return true
	default:
	}
	a := w.account(owner)
	w.late[q] = r
	w.stick(a, q, 1)
	go w.keep(q, owner, r, keep)
	return false
}

// stick counts one more that does not answer, or one less.
func (w *waits) stick(a *account, q question, by int) {
	before := a.stuck >= mostStuck
	a.stuck += by
	switch after := a.stuck >= mostStuck; {
	case after && !before:
		w.full.Add(1)
	case before && !after:
		w.full.Add(-1)
	}
	if q.name == memory {
		w.held.Add(int64(by))
	}
}

// keep waits for the answer, and forgets it when nobody asks for it.
func (w *waits) keep(q question, owner uint32, r *reply, long time.Duration) {
	<-r.known
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stick(w.account(owner), q, -1)
	forget := func() {
		if w.late[q] == r {
			delete(w.late, q)
		}
	}
	if long == 0 {
		forget()
		return
	}
	time.AfterFunc(long, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		forget()
	})
}
