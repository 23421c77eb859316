// SPDX-License-Identifier: MIT

package controller

import (
	"context"
	"maps"
	"math"
	"slices"
	"time"

	"ebpf-upgrader/selector"
)

// What the one goroutine does on behalf of a user is timed and put on his account, and calm times as long
// pays it off. Whose account is too far behind is left alone, while others' things go on: whatever he makes slow,
// or makes many of, he gets no more than an eleventh of the time in the long run. There is one account for
// looks at processes, and one for looks at files and deliveries, so that the former do not hold up the latter. What
// has no bound of its own is done a slice at a time. Exec and exit of his servers are always noted as they come.

const (
	// calm is how many times as long as it took pays something off, and how many times as long as a look at
	// all servers there is no other.
	calm = 10
	// credit is what a user may have taken before he is left alone: it is enough for a thousand servers at
	// once, and others wait no longer.
	credit = 250 * time.Millisecond
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

// accounts say when what was done for each user is paid off.
type accounts map[uint32]time.Time

// charge notes that the goroutine was busy for a user.
func (a accounts) charge(user uint32, took time.Duration, now time.Time) {
	from := a[user]
	if from.Before(now) {
		from = now
	}
	if took > 0 {
		a[user] = from.Add(calm * took)
	}
}

// rest is until when a user's things are left alone; zero is that they are not.
func (a accounts) rest(user uint32, now time.Time) time.Time {
	paid := a[user]
	if !paid.After(now) {
		delete(a, user)
		return time.Time{}
	}
	if end := paid.Add(-calm * credit); end.After(now) {
		return end
	}
	return time.Time{}
}

// restOf is until when a place is left alone. What the operator named is nobody's.
func (s *Service) restOf(p *place, a accounts, now time.Time) time.Time {
	if len(s.places.fixed) > 0 {
		return time.Time{}
	}
	return a.rest(p.Owner, now)
}

// acted notes what one look at a file, or one delivery, took.
func (s *Service) acted(user uint32, start time.Time) {
	now := time.Now()
	if took := now.Sub(start); took >= slow {
		s.acts.charge(user, took, now)
	}
}

// check looks at a place.
func (s *Service) check(p *place) selector.Install {
	if len(s.places.fixed) == 0 {
		defer s.acted(p.Owner, time.Now())
	}
	return s.cfg.Installs.Check(p.Place)
}

// bill says how long the goroutine was busy for each user.
type bill map[uint32]time.Duration

func (s *Service) pay(b bill) {
	now := time.Now()
	for user, took := range b {
		s.looks.charge(user, took, now)
	}
}

// lookAtSome looks at processes for a slice of time, and answers with those that it came to. What it took is
// shared out among the users to whom they belong.
func (s *Service) lookAtSome(ctx context.Context, reason Reason, users map[selector.PID]uint32) (looked map[selector.PID]bool, b bill) {
	ctx, cancel := context.WithTimeout(ctx, slice)
	defer cancel()
	start := time.Now()
	_, views, _ := s.round(ctx, reason, slices.Collect(maps.Keys(users)), nil)
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
	users := s.turns(s.agenda.due(now), now)
	if len(users) == 0 {
		return
	}
	looked, b := s.lookAtSome(ctx, ReasonServer, users)
	for pid := range users {
		if !looked[pid] {
			s.agenda.again([]selector.PID{pid}, now)
		}
	}
	s.pay(b)
}

// turns leaves of those who are due the ones that may be looked at now, with their users. Finding those out
// takes a slice of time at most, too, and their users pay for it. Only then it is told until when one rests: he would
// never come to the end of it otherwise.
func (s *Service) turns(due []selector.PID, now time.Time) map[selector.PID]uint32 {
	users, resting, b := make(map[selector.PID]uint32, len(due)), make(map[uint32][]selector.PID), make(bill)
	room := s.room()
	for i, pid := range due {
		start := time.Now()
		if start.Sub(now) > slice {
			s.agenda.again(due[i:], now)
			break
		}
		user, admitted := room.admit(pid)
		b[user] += time.Since(start)
		switch {
		case !admitted:
		case s.looks.rest(user, now).IsZero():
			users[pid] = user
		default:
			resting[user] = append(resting[user], pid)
		}
	}
	s.pay(b)
	for user, pids := range resting {
		s.agenda.again(pids, s.looks.rest(user, now))
	}
	return users
}
