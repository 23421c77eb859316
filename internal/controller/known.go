// SPDX-License-Identifier: MIT

package controller

import (
	"context"
	"slices"
	"time"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// known is a process as it was looked at last.
type known struct {
	Server
	view selector.View
	// layout is where things stood in its memory then, if all that was read is of one image of its own.
	layout selector.Layout
	// born is when the process began, or a little before.
	born time.Time
	// home is the place that it names; nil when it names none that is watched.
	home *place
	// before is the rollout that an earlier process asked it in, until it can be told where it belongs.
	before *attached
	// inExecAt is when it was last seen inside an exec.
	inExecAt time.Time
	// rank is where it goes in the next rollout.
	rank rollout.Rank
	// foreign is the last signal of another sender.
	foreign foreignSignal
	// hidden says that it has exec'd something that is no server, and may be on its way to one.
	hidden bool
	// gone is when a look found that it is no more, and replaced says that its number is another's by
	// then; how it ended is yet to be told.
	gone     time.Time
	replaced bool
}

// home is where a process belongs, as far as that is known.
func (s *Service) home(pid selector.PID) *place {
	if k := s.known[pid]; k != nil {
		return k.home
	}
	return nil
}

// rolloutOf is the rollout that a process takes part in, if there is one.
func (s *Service) rolloutOf(pid selector.PID) *attached {
	k := s.known[pid]
	switch {
	case k == nil:
		return nil
	case k.home == nil:
		return k.before
	}
	return k.home.rollout
}

// member is what the rollout knows of a process.
func (s *Service) member(pid selector.PID) *rollout.Member {
	if r := s.rolloutOf(pid); r != nil {
		return r.Member(pid)
	}
	return nil
}

// taken reports whether the number of a process that is known is another's now.
func (s *Service) taken(p selector.Process) bool {
	k := s.known[p.PID]
	return k != nil && k.identity() != p.Identity
}

// meet takes a process into the set of those that are known, at the place that it names.
func (s *Service) meet(v view, now time.Time) *known {
	pid := v.process.PID
	k := s.known[pid]
	if k == nil {
		k = &known{born: v.at.Add(-v.process.Age)}
		s.known[pid] = k
		s.perUser[v.process.Credentials.Owner]++
	} else if k.UID != v.process.Credentials.Owner {
		s.release(k.UID)
		s.perUser[v.process.Credentials.Owner]++
	}
	k.Server, k.hidden, k.gone = newServer(v.process, v.decision), false, time.Time{}
	k.layout = v.process.Layout
	if v.process.Catches {
		k.foreign.armed()
	}
	if v.process.MidExec {
		k.inExecAt = now
	}
	if v.process.Forked || v.process.MidExec {
		k.layout = selector.Layout{}
	}
	s.settle(k, v.process, now)
	return k
}

// settle brings a process to the place that it names now. One that names none stays where it was: it
// may be a script on its way to the server.
func (s *Service) settle(k *known, p selector.Process, now time.Time) {
	if k.view != p.View && k.home != nil {
		s.cfg.Installs.Ended(k.view, p.Identity)
	}
	k.view = p.View
	to, isNew := s.placeFor(k, p, now)
	if to == nil {
		return
	}
	s.cfg.Installs.Sees(k.view, p.Identity)
	if isNew { // only now: it is looked at through who sees it
		s.cfg.Installs.Watch(to.Place)
	}
	if to != k.home && k.home != nil {
		s.move(k, to, now)
	}
	s.bring(k, to)
	if k.before != nil {
		s.takeUp(k, to)
	}
}

// bring notes that a process names a place.
func (s *Service) bring(k *known, to *place) {
	if k.home != nil && k.home != to {
		delete(k.home.servers, k.PID)
	}
	k.home = to
	to.servers[k.PID], to.empty = true, time.Time{}
}

// placeFor is the place that a process names; isNew says that it is to be watched from now on.
func (s *Service) placeFor(k *known, p selector.Process, now time.Time) (to *place, isNew bool) {
	if to := s.places.of(p, k.home); to != nil || len(s.places.fixed) > 0 {
		return to, false
	}
	at, ok := named(p)
	switch {
	case !ok || !armed(k.Verdict):
		return nil, false
	case s.perOwner[at.Owner] >= s.cfg.MaxPlacesPerUser && !s.makeRoom(at.Owner):
		k.Decision = selector.Decision{Verdict: selector.OverLimit, Detail: "its user names too many installs"}
		return nil, false
	}
	to = newPlace(at, now)
	s.places.all[at] = to
	s.perOwner[at.Owner]++
	return to, true
}

// makeRoom forgets the place of a user that nobody has named for the longest time, if there is one.
func (s *Service) makeRoom(owner uint32) bool {
	var oldest *place
	for _, p := range s.places.all {
		if p.Owner == owner && !p.empty.IsZero() && (oldest == nil || p.empty.Before(oldest.empty)) {
			oldest = p
		}
	}
	if oldest == nil {
		return false
	}
	s.forget(oldest)
	return true
}

// armed reports whether a process with that verdict is a server that names what it would exec.
func armed(v selector.Verdict) bool {
	switch v {
	case selector.Outdated, selector.UpToDate, selector.NoHandler, selector.Forked, selector.UnreadyInstall:
		return true
	}
	return false
}

// move takes a process from the place that it named before to another. One that was asked, and runs
// what it ran then, will exec what the other place leads to; any other has done so.
func (s *Service) move(k *known, to *place, now time.Time) {
	from := k.home
	delete(from.servers, k.PID)
	s.abandon(from, now)
	if from.rollout == nil {
		return
	}
	s.touch(from.rollout)
	m := from.rollout.Member(k.PID)
	switch {
	case m == nil || from.rollout == to.rollout:
	case to.rollout != nil && m.Ran() == k.Image:
		s.carryOne(from.rollout, to.rollout, m)
		s.touch(to.rollout)
	default:
		from.rollout.Reassign(m, now)
	}
}

// abandon notes that a place may have nobody left who names it.
func (s *Service) abandon(p *place, now time.Time) {
	if len(p.servers) == 0 {
		p.empty = now
		s.places.schedule(now.Add(s.cfg.ForgetAfter))
	}
}

// forget ends the watch on a place that nobody has named for long.
func (s *Service) forget(p *place) {
	s.cfg.Installs.Forget(p.Place)
	delete(s.places.all, p.Place)
	if s.perOwner[p.Owner]--; s.perOwner[p.Owner] == 0 {
		delete(s.perOwner, p.Owner)
	}
	s.detach(p)
}

// release takes one off the count of a user's processes.
func (s *Service) release(uid uint32) {
	if s.perUser[uid]--; s.perUser[uid] == 0 {
		delete(s.perUser, uid)
		delete(s.served.users, uid)
	}
}

// bounded leaves out those whose user has more processes than are looked at. Who is known already
// goes first, so that nobody loses the place that he has.
func (s *Service) bounded(ctx context.Context, pids []selector.PID) []selector.PID {
	if s.cfg.MaxPerUser == 0 {
		return pids
	}
	room := s.room()
	return slices.DeleteFunc(slices.Clone(pids), func(pid selector.PID) bool {
		if ctx.Err() != nil {
			return false
		}
		_, admitted := room.admit(pid)
		return !admitted
	})
}

// room says for whom there is some. coming are those for whom there was and who are not known yet.
type room struct {
	s      *Service
	coming map[uint32]int
}

func (s *Service) room() room { return room{s, make(map[uint32]int)} }

// admit reports whether there is room for a process, and whose it is: nobody's where that cannot be
// told, and the look finds out why.
func (r room) admit(pid selector.PID) (user uint32, admitted bool) {
	if k := r.s.known[pid]; k != nil {
		return k.UID, true
	}
	id, user, err := r.s.cfg.Upgrader.cfg.Inspector.User(pid)
	switch limit := r.s.cfg.MaxPerUser; {
	case err != nil:
		return nobody, true
	case limit == 0, r.s.perUser[user]+r.coming[user] < limit:
		r.coming[user]++
		return user, true
	}
	r.s.overLimit(id, user)
	return user, false
}

// overLimit notes a process that is not looked at. It takes no place of those that are.
func (s *Service) overLimit(id selector.Identity, uid uint32) {
	s.lookedAt(id.PID)
	s.over[id.PID] = Server{
		PID: id.PID, StartTime: id.StartTime, UID: uid, Args: []string{},
		Decision: selector.Decision{Verdict: selector.OverLimit, Detail: "its user has more servers than are looked at"},
	}
}
