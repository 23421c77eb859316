// SPDX-License-Identifier: MIT

package upgrade

import (
	"context"
	"maps"
	"math"
	"slices"
	"time"

	"ebpf-upgrader/selector"
)

// What the one goroutine does on behalf of a user is timed, and afterwards his things are left alone for
// calm times as long, while others' go on: whatever he makes slow, or makes many of, he gets no more than an
// eleventh of its time. What has no bound of its own is done a slice at a time. Exec and exit of his servers
// are always noted as they come.

const (
	// calm is how many times as long as it took a user's things are left alone, and how many times as
	// long as a look at all servers there is no other.
	calm = 10
	// slice is for how long looks on behalf of users go on. In that time a thousand are made.
	slice = 100 * time.Millisecond
	// slow is what a look at a file and a delivery must take to count, which is a hundred times as long
	// as usual: users take turns at them in any case.
	slow = 10 * time.Millisecond
	// aheadWithin bounds looks at files for one who waits for the answer.
	aheadWithin = 500 * time.Millisecond
)

// nobody stands for the user of a process of which that cannot be told. No user has that number.
const nobody = math.MaxUint32

// rests says until when a user's things are left alone.
type rests map[uint32]time.Time

// spent notes that the goroutine was busy for a user.
func (r rests) spent(user uint32, took time.Duration, now time.Time) {
	if end := now.Add(calm * took); took > 0 && end.After(r[user]) {
		r[user] = end
	}
}

// end is when the user's turn comes; zero is now.
func (r rests) end(user uint32, now time.Time) time.Time {
	end := r[user]
	if end.IsZero() || end.After(now) {
		return end
	}
	delete(r, user)
	return time.Time{}
}

// restsOf is when the turn of a place comes; zero is now. What the operator named is nobody's.
func (s *Service) restsOf(p *place, now time.Time) time.Time {
	if len(s.places.fixed) > 0 {
		return time.Time{}
	}
	return s.rests.end(p.Owner, now)
}

// charge notes what one act for a user took.
func (s *Service) charge(user uint32, start time.Time) {
	now := time.Now()
	if took := now.Sub(start); took >= slow {
		s.rests.spent(user, took, now)
	}
}

// check looks at a place.
func (s *Service) check(p *place) selector.Install {
	if len(s.places.fixed) == 0 {
		defer s.charge(p.Owner, time.Now())
	}
	return s.cfg.Installs.Check(p.Place)
}

// bill says how long the goroutine was busy for each user.
type bill map[uint32]time.Duration

func (s *Service) pay(b bill) {
	now := time.Now()
	for user, took := range b {
		s.rests.spent(user, took, now)
	}
}

// lookAtSome looks at processes for a slice of time, and answers with those that it came to. What it took is
// shared out among the users to whom they belong.
func (s *Service) lookAtSome(ctx context.Context, reason Reason, users map[selector.PID]uint32) (looked map[selector.PID]bool, b bill) {
	ctx, cancel := context.WithTimeout(ctx, slice)
	defer cancel()
	start := time.Now()
	_, views := s.round(ctx, reason, slices.Collect(maps.Keys(users)))
	wall, sum := time.Since(start), time.Duration(0)
	looked, b = make(map[selector.PID]bool, len(views)), make(bill)
	for _, v := range views {
		looked[v.process.PID] = true
		b[users[v.process.PID]] += v.took
		sum += v.took
	}
	for user, took := range b { // several are looked at at a time
		b[user] = time.Duration(float64(took) / float64(max(1, sum)) * float64(wall))
	}
	return looked, b
}

// lookAtDue looks at those whose time has come, and at whose user it may look. Who is left is due again.
func (s *Service) lookAtDue(ctx context.Context, now time.Time) {
	users, search := s.turns(s.agenda.due(now), now)
	if len(users) == 0 {
		s.pay(search)
		return
	}
	looked, b := s.lookAtSome(ctx, ReasonServer, users)
	for pid := range users {
		if !looked[pid] {
			s.agenda.again([]selector.PID{pid}, now)
		}
	}
	for user, took := range search {
		b[user] += took
	}
	s.pay(b)
}

// turns leaves of those who are due the ones that may be looked at now, with their users. Finding those out
// takes a slice of time at most, too, and is on their users' bill.
func (s *Service) turns(due []selector.PID, now time.Time) (users map[selector.PID]uint32, b bill) {
	users, b = make(map[selector.PID]uint32, len(due)), make(bill)
	room := s.room()
	for i, pid := range due {
		start := time.Now()
		if start.Sub(now) > slice {
			s.agenda.again(due[i:], now)
			break
		}
		user, admitted := room.admit(pid)
		b[user] += time.Since(start)
		end := s.rests.end(user, now)
		switch {
		case !admitted:
		case end.IsZero():
			users[pid] = user
		default:
			s.agenda.again(due[i:i+1], end)
		}
	}
	return users, b
}
