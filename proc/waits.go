// SPDX-License-Identifier: MIT

//go:build linux

package proc

import (
	"errors"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

const (
	// answerWithin is how long a look waits for a file system. What is slower answers the next look.
	answerWithin = 25 * time.Millisecond
	// keptFor is how long an answer is kept that nobody waited for.
	keptFor = 2 * time.Second
	// mostStuck is how many look-ups for one user may wait for file systems that do not answer. Each
	// holds a thread of this process for as long as that lasts.
	mostStuck = 4
	// share of the time is what looks may wait for the file systems of one user in the long run, and
	// burst what they may wait at once: however many servers he has there, those of others have their
	// turn.
	share = 0.25
	burst = 500 * time.Millisecond
)

var (
	errNoAnswer  = errors.New("the file system does not answer")
	errManyStuck = errors.New("too many file systems of this user do not answer")
)

// question is what is asked of a file system, and on whose behalf.
type question struct {
	owner uint32
	id    selector.Identity
	name  string
}

// reply is what a file system said, once it has.
type reply struct {
	known chan struct{}
	file  selector.File
	err   error
}

// account is what the file systems of one user cost.
type account struct {
	stuck int
	// credit is what may be waited.
	credit time.Duration
	since  time.Time
}

// waits asks file systems that may never answer. The zero value is ready for use.
type waits struct {
	mu sync.Mutex // guards the rest
	// late are the questions that somebody gave up on. Answered or not, each is there until somebody
	// takes the answer, or nobody has for some time.
	late     map[question]*reply
	accounts map[uint32]*account
}

// within returns what ask says, or gives up soon: the answer is kept for who asks next. It closes fd, on
// which ask works, when ask has ended. A goroutine that was given up ends when the file system answers
// or is unmounted.
func (w *waits) within(q question, fd int, ask func() (selector.File, error)) (selector.File, error) {
	r, patience, err := w.begin(q)
	switch {
	case err != nil:
		return selector.File{}, errors.Join(err, unix.Close(fd))
	case r != nil:
		_ = unix.Close(fd)
		return r.file, r.err
	}
	return w.ask(q, fd, ask, patience)
}

// begin gives the answer to a question that was asked before, or how long to wait for it.
func (w *waits) begin(q question) (*reply, time.Duration, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r := w.late[q]; r != nil {
		select {
		case <-r.known:
			delete(w.late, q)
			return r, 0, nil
		default:
			return nil, 0, errNoAnswer
		}
	}
	a := w.account(q.owner)
	if a.stuck >= mostStuck {
		return nil, 0, errManyStuck
	}
	return nil, max(0, min(answerWithin, a.credit)), nil
}

func (w *waits) account(owner uint32) *account {
	now := time.Now()
	a := w.accounts[owner]
	if a == nil {
		if w.accounts == nil {
			w.accounts, w.late = make(map[uint32]*account), make(map[question]*reply)
		}
		a = &account{credit: burst, since: now}
		w.accounts[owner] = a
	}
	a.credit = min(burst, a.credit+time.Duration(float64(now.Sub(a.since))*share))
	a.since = now
	return a
}

func (w *waits) ask(q question, fd int, ask func() (selector.File, error), patience time.Duration) (selector.File, error) {
	r := &reply{known: make(chan struct{})}
	begin := time.Now()
	go func() {
		r.file, r.err = ask()
		_ = unix.Close(fd)
		close(r.known)
	}()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case <-r.known:
	case <-limit.C:
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	a := w.account(q.owner)
	a.credit -= time.Since(begin)
	select {
	case <-r.known:
		return r.file, r.err
	default:
	}
	w.late[q] = r
	a.stuck++
	go w.keep(q, r)
	return selector.File{}, errNoAnswer
}

// keep waits for the answer, and forgets it when nobody asks for it.
func (w *waits) keep(q question, r *reply) {
	<-r.known
	w.mu.Lock()
	defer w.mu.Unlock()
	w.account(q.owner).stuck--
	time.AfterFunc(keptFor, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.late[q] == r {
			delete(w.late, q)
		}
	})
}
