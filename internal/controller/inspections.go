// SPDX-License-Identifier: MIT

package controller

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/budget"
	"ebpf-upgrader/internal/deliver"
	"ebpf-upgrader/internal/registry"
	"ebpf-upgrader/selector"
)

// noUser stands for the user of a process with an unknown owner. No user has that number.
var noUser = selector.User{UID: math.MaxUint32}

// inspection is one process that is to be inspected. There is one at most for each PID.
type inspection struct {
	pid     selector.PID
	user    selector.User
	surveys []*survey
	// isOwned says that user was read, isAdmitted that it counts for the user's limit.
	isOwned, isAdmitted bool
	// counted are the holds that it counts in.
	counted []*holds
	// isPoll says that only the schedule wants it.
	isUrgent, isPoll bool
	// since is what answers of file systems must not be older than.
	since time.Time
	// generation is raised by whatever makes a reading outdated that has begun before. begun is the one of the last reading.
	generation, begun atomic.Uint64
}

// inspections are those that workers have to make. The methods belong to the loop.
type inspections struct {
	deliverer *deliver.Deliverer
	registry  *registry.Registry
	inbox     *inbox
	// holds has those that hold back the signals to their user, deferred those that a resync did not come to.
	holds, deferred *holds
	// readers do the inspections of surveys, pollers those that the schedule has due, which are many while servers start.
	// owners read the owner of a process, which takes microseconds and never waits.
	readers, pollers, owners *budget.Queue
	pending                  map[selector.PID]*inspection
	// admitted counts those by user that are not in the registry yet.
	admitted map[selector.User]int
	// unowned are those without a known user.
	unowned []*inspection
	// read and owned take the results.
	read  func(*inspection, uint64, deliver.Inspection)
	owned func(*inspection, selector.Identity, selector.User, error)
}

// want has a process inspected, from now on, for a survey.
func (e *inspections) want(pid selector.PID, s *survey, isUrgent bool) {
	in := e.pending[pid]
	isNew := in == nil
	if isNew {
		in = &inspection{pid: pid, isPoll: true}
		e.pending[pid] = in
		if p := e.registry.Process(pid); p != nil {
			in.user, in.isOwned = p.User, true
		}
	}
	if !s.waiting[pid] {
		s.waiting[pid] = true
		in.surveys = append(in.surveys, s)
	}
	if s.holds {
		e.holds.count(in)
	}
	in.generation.Add(1)
	isPoll := s.reason == api.ReasonServer
	isHurried := isUrgent && !in.isUrgent || in.isPoll && !isPoll
	in.isUrgent, in.isPoll = in.isUrgent || isUrgent, in.isPoll && isPoll
	switch {
	case isNew && !in.isOwned:
		e.unowned = append(e.unowned, in)
	case in.isOwned && (isNew || isHurried):
		e.submit(in)
	}
}

// outdate makes a reading of a process count for nothing that has begun already. It is made anew.
func (e *inspections) outdate(pid selector.PID) {
	if in := e.pending[pid]; in != nil {
		in.generation.Add(1)
	}
}

// submit gives an inspection to a worker. Of several workers that have the same generation one reads.
func (e *inspections) submit(in *inspection) {
	since, interpreters := in.since, e.registry.Interpreters()
	work := func() {
		generation := in.generation.Load()
		if in.begun.Swap(generation) == generation {
			return
		}
		read := e.deliverer.Read(in.pid, interpreters, since)
		e.inbox.put(func(context.Context) { e.read(in, generation, read) })
	}
	switch {
	case in.isUrgent:
		e.readers.SubmitFirst(in.user, work)
	case in.isPoll:
		e.pollers.Submit(in.user, work)
	default:
		e.readers.Submit(in.user, work)
	}
}

// ownersAtOnce is how many owners one piece of work reads.
const ownersAtOnce = 64

// lookUp has a worker read the owners of the processes that are not known yet: first of those that have just started.
func (e *inspections) lookUp() {
	inspector := e.deliverer.Config().Inspector
	for some := range slices.Chunk(e.unowned, ownersAtOnce) {
		submit := e.owners.Submit
		if some[0].isPoll {
			submit = e.owners.SubmitFirst
		}
		submit(noUser, func() {
			for _, in := range some {
				id, user, err := inspector.User(in.pid)
				e.inbox.put(func(context.Context) { e.owned(in, id, user, err) })
			}
		})
	}
	e.unowned = nil
}

// admit takes the owner of a process. It reports false if the user has too many processes, and this one is not inspected.
func (e *inspections) admit(in *inspection, id selector.Identity, user selector.User, err error) bool {
	if err != nil { // the inspection finds out why
		user = noUser
	}
	in.user, in.isOwned = user, true
	for _, h := range in.counted {
		h.byUser[user]++
		h.removeUnknown()
	}
	if errors.Is(err, selector.ErrGone) || e.registry.Process(in.pid) != nil {
		e.submit(in)
		return true
	}
	if err == nil && !e.registry.Admits(user, e.admitted[user]) {
		e.registry.PutOver(id, user)
		return false
	}
	in.isAdmitted = true
	e.admitted[user]++
	e.submit(in)
	return true
}

// isCurrent reports whether a reading counts. If not, it is made anew, unless nothing waits for it any more.
func (e *inspections) isCurrent(in *inspection, generation uint64, read *deliver.Inspection) bool {
	switch {
	case e.pending[in.pid] != in:
		return false
	case in.generation.Load() != generation:
		e.submit(in)
		return false
	}
	if since := e.registry.Since(read.Process); read.IsBefore(since) && in.since.Before(since) {
		in.since = since
		in.generation.Add(1)
		e.submit(in)
		return false
	}
	return true
}

// retry reads a process again.
func (e *inspections) retry(pid selector.PID) {
	if in := e.pending[pid]; in != nil && in.isOwned {
		in.generation.Add(1)
		e.submit(in)
	}
}

// end ends an inspection, and returns the surveys that waited for it.
func (e *inspections) end(in *inspection) []*survey {
	delete(e.pending, in.pid)
	if in.isAdmitted {
		if e.admitted[in.user]--; e.admitted[in.user] == 0 {
			delete(e.admitted, in.user)
		}
	}
	for _, h := range in.counted {
		h.remove(in.user)
	}
	for _, s := range in.surveys {
		delete(s.waiting, in.pid)
	}
	return in.surveys
}

// leave takes what a survey waits for from it, by user.
func (e *inspections) leave(s *survey) map[selector.User][]*inspection {
	byUser := make(map[selector.User][]*inspection)
	for pid := range s.waiting {
		in := e.pending[pid]
		in.surveys = slices.DeleteFunc(in.surveys, func(other *survey) bool { return other == s })
		user := noUser
		if in.isOwned {
			user = in.user
		}
		e.deferred.count(in)
		byUser[user] = append(byUser[user], in)
	}
	clear(s.waiting)
	return byUser
}

func (e *inspections) close() {
	e.owners.Close()
	e.pollers.Close()
	e.readers.Close()
}
