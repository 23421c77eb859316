// SPDX-License-Identifier: MIT

package quiet

import (
	"time"

	"ebpf-upgrader/selector"
)

// Reader reads the activity of processes. Neither method blocks on another process.
type Reader interface {
	// Activity returns the reads and writes of a process so far. It fails when the process is gone. IsCounted is false where
	// the kernel does not count them.
	Activity(pid selector.PID) (selector.Activity, error)
	// HasBusyThread reports whether a thread of the process runs, or sleeps in a system call other than a wait for work.
	HasBusyThread(pid selector.PID) (bool, error)
}

const (
	// samplesPerWait is the number of samples of a process in the time that it must be idle.
	samplesPerWait = 4
	// dutyFactor limits the samples of one user's processes to 1/dutyFactor of a core.
	dutyFactor = 200
	// maxSampleAge is the highest age of a sample that proves a process idle.
	maxSampleAge = 2 * time.Millisecond
)

// Watcher samples processes that wait for their signal. It reads processes in [Watcher.Begin] and [Watcher.Judge] only. The
// idle time decides how often Judge samples a process. The second sample of a process is due after the idle time, which is all
// that an idle process needs. Later samples of a user's processes take 0.5 % of a core at most: the more processes, the less
// often. It is not safe for concurrent use.
type Watcher struct {
	reader Reader
	// idleAfter is how long an idle process has neither read nor written.
	idleAfter time.Duration
	watches   map[selector.PID]*watch
	users     map[selector.User]*user
}

// user is a user with watched processes.
type user struct {
	processes int
	// cost is the estimated time of one sample.
	cost time.Duration
}

// watch is the state of one watched process.
type watch struct {
	id    selector.Identity
	owner selector.User
	// last is the latest sample, and since the time of the first sample equal to it.
	last  selector.Activity
	since time.Time
	// next is when the next sample is due, and taken when the last one was taken.
	next, taken time.Time
	verdict     selector.Idleness
}

// New returns a Watcher. A process is idle once it has neither read nor written for that long.
func New(reader Reader, after time.Duration) *Watcher {
	return &Watcher{reader: reader, idleAfter: after, watches: make(map[selector.PID]*watch), users: make(map[selector.User]*user)}
}

// Begin starts to watch a process of a user, and takes the first sample. It does nothing for a watched process.
func (w *Watcher) Begin(id selector.Identity, owner selector.User) { w.watch(id, owner) }

func (w *Watcher) watch(id selector.Identity, owner selector.User) *watch {
	if v := w.watches[id.PID]; v != nil && v.id == id {
		return v
	}
	w.Forget(id.PID)
	v := &watch{id: id, owner: owner}
	w.watches[id.PID] = v
	u := w.users[owner]
	if u == nil {
		u = &user{}
		w.users[owner] = u
	}
	u.processes++
	w.sample(v, time.Now())
	return v
}

// Forget stops watching a process.
func (w *Watcher) Forget(pid selector.PID) {
	v := w.watches[pid]
	if v == nil {
		return
	}
	delete(w.watches, pid)
	if u := w.users[v.owner]; u.processes > 1 {
		u.processes--
	} else {
		delete(w.users, v.owner)
	}
}

// Judge reports whether a process is idle now. A process that is gone is idle: its signal fails with that result. Judge
// returns [selector.IdleYes] only right after a sample.
func (w *Watcher) Judge(id selector.Identity, owner selector.User) selector.Idleness {
	v, now := w.watch(id, owner), time.Now()
	isStale := v.verdict == selector.IdleYes && now.Sub(v.taken) > maxSampleAge
	if isStale || !now.Before(v.next) {
		w.sample(v, now)
	}
	return v.verdict
}

// sample reads a process and updates its verdict.
func (w *Watcher) sample(v *watch, start time.Time) {
	isFirst := v.taken.IsZero()
	v.verdict = w.judge(v, start)
	v.taken = time.Now()
	// The estimate rises slowly: a single sample may be slow because another process had the processor.
	const usual = 10 * time.Microsecond
	u := w.users[v.owner]
	u.cost = min(v.taken.Sub(start), max(usual, u.cost+u.cost/4))
	if isFirst { // two samples are enough for a process that stays idle, and a rollout takes them once
		v.next = start.Add(w.idleAfter)
		return
	}
	v.next = start.Add(max(w.idleAfter/samplesPerWait, u.cost*dutyFactor*time.Duration(u.processes)))
}

// judge reads the threads only if the verdict depends on them: that costs more than the rest.
func (w *Watcher) judge(v *watch, now time.Time) selector.Idleness {
	a, err := w.reader.Activity(v.id.PID)
	if err != nil {
		return selector.IdleYes
	}
	// The process was not sampled for long: its activity in that time is unknown.
	isUnobserved, isSame := v.since.IsZero() || now.Sub(v.next) > w.idleAfter, a == v.last
	if !isSame || v.since.IsZero() {
		v.last, v.since = a, now
	}
	isLong := now.Sub(v.since) >= w.idleAfter
	if isLong || !a.IsCounted {
		isBusy, err := w.reader.HasBusyThread(v.id.PID)
		switch {
		case err != nil:
			return selector.IdleYes
		case isBusy:
			v.since = now
			return selector.IdleNo
		}
	}
	switch {
	case isLong:
		return selector.IdleYes
	case isUnobserved:
		return selector.IdleUnknown
	case isSame:
		return min(v.verdict, selector.IdleNo)
	}
	return selector.IdleNo
}
