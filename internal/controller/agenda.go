// SPDX-License-Identifier: MIT

package controller

import (
	"maps"
	"time"

	"ebpf-upgrader/selector"
)

const (
	// firstLook is how long after its exec a server is first looked at: it needs some milliseconds
	// to arm, and a look costs some microseconds.
	firstLook = 20 * time.Millisecond
	// slowestLook bounds the doubling of that time.
	slowestLook = time.Second
	// candidatesRetry is how long to wait after the candidates could not be had.
	candidatesRetry = time.Second
)

// agenda says who is to be looked at when, without an event. It belongs to one goroutine.
type agenda struct {
	// patience is how long a server is given to arm. One that has not by then will not as a rule, and
	// the regular look at everybody finds the exceptions.
	patience time.Duration
	visits   map[selector.PID]visit
	// all is when everybody is to be looked at; zero for not at all.
	all time.Time
	// next is no later than the earliest visit; zero when there is none. It may be too early after
	// a visit was dropped, which costs one empty wake-up.
	next time.Time
}

type visit struct {
	at time.Time
	// delay is the last one, doubled for the next; since is when the waiting began.
	delay time.Duration
	since time.Time
}

func newAgenda(patience time.Duration) agenda {
	return agenda{patience: patience, visits: make(map[selector.PID]visit)}
}

// soon plans the first look at a process that has just exec'd.
func (a *agenda) soon(pid selector.PID, now time.Time) {
	a.put(pid, visit{at: now.Add(firstLook), delay: firstLook, since: now})
}

// backOff plans another look at a process that is not armed, or whose facts cannot be read, later each
// time, until patience ends, and reports whether it has not. One that is new to the agenda may just
// have exec'd.
func (a *agenda) backOff(pid selector.PID, now time.Time) bool {
	v, known := a.visits[pid]
	switch {
	case !known || v.delay == 0:
		a.soon(pid, now)
	case now.Sub(v.since) > a.patience:
		a.put(pid, visit{since: v.since, delay: v.delay}) // kept, so that its patience does not begin anew
		return false
	default:
		a.put(pid, v.later(now))
	}
	return true
}

// later is the next visit after v, twice as long away as v was.
func (v visit) later(now time.Time) visit {
	delay := min(2*v.delay, slowestLook)
	return visit{at: now.Add(delay), delay: delay, since: v.since}
}

// poll plans another look at a process that nothing tells of, later each time, and one at the end of
// its time.
func (a *agenda) poll(pid selector.PID, now, end time.Time) {
	v, known := a.visits[pid]
	if !known || v.delay == 0 {
		v = visit{delay: firstLook / 2, since: now}
	}
	next := v.later(now)
	if next.at.After(end) {
		next.at = end
	}
	a.put(pid, next)
}

// again makes some due at another time who were due, without anything else than that.
func (a *agenda) again(pids []selector.PID, when time.Time) {
	for _, pid := range pids {
		v := a.visits[pid]
		v.at = when
		a.put(pid, v)
	}
}

// at plans one look.
func (a *agenda) at(pid selector.PID, when time.Time) { a.put(pid, visit{at: when}) }

func (a *agenda) forget(pid selector.PID) { delete(a.visits, pid) }

// keepOnly forgets everybody who is not among the living.
func (a *agenda) keepOnly(living map[selector.PID]bool) {
	maps.DeleteFunc(a.visits, func(pid selector.PID, _ visit) bool { return !living[pid] })
}

// everybody plans a look at all candidates, which could not be had now.
func (a *agenda) everybody(now time.Time) {
	a.all = now.Add(candidatesRetry)
	a.earliest(a.all)
}

func (a *agenda) everybodyDue(now time.Time) bool { return !a.all.IsZero() && !now.Before(a.all) }

func (a *agenda) everybodySeen() { a.all = time.Time{} }

func (a *agenda) put(pid selector.PID, v visit) {
	a.visits[pid] = v
	a.earliest(v.at)
}

func (a *agenda) earliest(at time.Time) {
	if !at.IsZero() && (a.next.IsZero() || at.Before(a.next)) {
		a.next = at
	}
}

// due takes those whose time has come. They stay known, so that their delay goes on growing.
func (a *agenda) due(now time.Time) []selector.PID {
	var pids []selector.PID
	a.next = time.Time{}
	a.earliest(a.all)
	for pid, v := range a.visits {
		if v.at.IsZero() {
			continue
		}
		if v.at.After(now) {
			a.earliest(v.at)
			continue
		}
		pids = append(pids, pid)
		v.at = time.Time{}
		a.visits[pid] = v
	}
	return pids
}
