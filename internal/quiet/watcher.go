// SPDX-License-Identifier: MIT

package quiet

import (
	"time"

	"ebpf-upgrader/selector"
)

// Reader reads what processes do. Neither method waits for another process.
type Reader interface {
	// Activity reads what a process has done. It fails when the process is gone, and is not counted where the kernel
	// does not tell.
	Activity(pid selector.PID) (selector.Activity, error)
	// Works reports whether a thread of the process does something, by what the kernel says of its threads.
	HasBusyThread(pid selector.PID) (bool, error)
}

const (
	// samples is how often a process is sampled within the time that it must be idle for.
	samples = 4
	// share is which part of a core the samples of one user's processes may take: one part in so many.
	share = 200
	// fresh is how old a sample may be that says that a process is idle.
	fresh = 2 * time.Millisecond
)

// Watcher samples processes that wait to be signalled. Only [Watcher.Begin] and [Watcher.Judge] read anything, and Judge
// reads a process no more often than the time in question asks for: with many processes of one user less often, so that
// they take no more than half a hundredth of a core. It is not safe for concurrent use.
type Watcher struct {
	reader Reader
	after  time.Duration
	of     map[selector.PID]*watch
	users  map[uint32]*user
}

// user is one that has processes that are watched.
type user struct {
	processes int
	// cost is what a sample takes, as far as it is known.
	cost time.Duration
}

// watch is what is known of one process.
type watch struct {
	id  selector.Identity
	uid uint32
	// last is the latest sample, and since the time of the first that was equal.
	last  selector.Activity
	since time.Time
	// next is when another sample is due, and taken when the last one was taken.
	next, taken time.Time
	verdict     selector.Idleness
}

// New returns a Watcher that takes a process for idle that has done nothing for that long.
func New(reader Reader, after time.Duration) *Watcher {
	return &Watcher{reader: reader, after: after, of: make(map[selector.PID]*watch), users: make(map[uint32]*user)}
}

// Begin watches a process of a user, and takes the first sample. It does nothing for one that is watched.
func (w *Watcher) Begin(id selector.Identity, uid uint32) {
	if v := w.of[id.PID]; v == nil || v.id != id {
		w.begin(id, uid)
	}
}

func (w *Watcher) begin(id selector.Identity, uid uint32) *watch {
	w.Forget(id.PID)
	v := &watch{id: id, uid: uid}
	w.of[id.PID] = v
	u := w.users[uid]
	if u == nil {
		u = &user{}
		w.users[uid] = u
	}
	u.processes++
	w.sample(v, time.Now())
	return v
}

// Forget ends the watch of a process.
func (w *Watcher) Forget(pid selector.PID) {
	v := w.of[pid]
	if v == nil {
		return
	}
	delete(w.of, pid)
	if u := w.users[v.uid]; u.processes > 1 {
		u.processes--
	} else {
		delete(w.users, v.uid)
	}
}

// Judge says whether a process is idle now. One that is gone is idle: the signal finds that out. The answer is
// [selector.IdleYes] only where a sample was taken right before.
func (w *Watcher) Judge(id selector.Identity, uid uint32) selector.Idleness {
	v := w.of[id.PID]
	if v == nil || v.id != id {
		v = w.begin(id, uid)
	}
	now := time.Now()
	isStale := v.verdict == selector.IdleYes && now.Sub(v.taken) > fresh
	if isStale || !now.Before(v.next) {
		w.sample(v, now)
	}
	return v.verdict
}

// sample reads a process, and judges.
func (w *Watcher) sample(v *watch, start time.Time) {
	v.verdict = w.judge(v, start)
	v.taken = time.Now()
	u := w.users[v.uid]
	u.pay(v.taken.Sub(start))
	v.next = start.Add(max(w.after/samples, u.cost*share*time.Duration(u.processes)))
}

// pay takes what a sample took. The cost rises slowly: one sample may take long because the processor was taken away.
func (u *user) pay(took time.Duration) {
	const usual = 10 * time.Microsecond
	u.cost = min(took, max(usual, u.cost+u.cost/4))
}

// judge reads the threads, which costs more than the rest, only where the answer depends on them.
func (w *Watcher) judge(v *watch, now time.Time) selector.Idleness {
	a, err := w.reader.Activity(v.id.PID)
	if err != nil {
		return selector.IdleYes
	}
	// A sample long overdue tells of a time that was not asked about.
	isFirst, isSame := v.since.IsZero() || now.Sub(v.next) > w.after, a == v.last
	if !isSame || v.since.IsZero() {
		v.last, v.since = a, now
	}
	isLong := now.Sub(v.since) >= w.after
	if isLong || !a.IsCounted {
		runs, err := w.reader.HasBusyThread(v.id.PID)
		switch {
		case err != nil:
			return selector.IdleYes
		case runs:
			v.since = now
			return selector.IdleNo
		}
	}
	switch {
	case isLong:
		return selector.IdleYes
	case isFirst:
		return selector.IdleUnknown
	case isSame:
		return min(v.verdict, selector.IdleNo)
	}
	return selector.IdleNo
}
