// SPDX-License-Identifier: MIT

package controller

import (
	"cmp"
	"slices"
	"time"

	"ebpf-upgrader/internal/registry"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// attached is a rollout with the installs that lead to its file.
type attached struct {
	*rollout.Rollout
	installs []*registry.Install
	// reported is the phase that the observer knows, and reportedHalts how many halts.
	reported      rollout.Phase
	reportedHalts int
}

// maySignal reports whether members of a rollout may be signalled. If not, they need not be looked at one by one.
func (s *rollouts) maySignal(r *attached) bool {
	return r.HasPending() && slices.ContainsFunc(r.installs, func(i *registry.Install) bool {
		return i.MaySignal() && (!s.registry.Learns() || !s.holds.has(i.Owner))
	})
}

// rollouts are the rollouts of all installs. A rollout belongs to an installed file, whatever installs lead to it.
type rollouts struct {
	cfg      rollout.Config
	registry *registry.Registry
	traits   traits
	// holds and deferred count processes that are yet to be inspected: no server of a user with one in holds is signalled, and
	// no rollout of a user with one in either is complete.
	holds, deferred *holds
	planner         *planner
	persist         *persister
	observer        Observer

	byImage map[selector.Image]*attached
	at      map[*registry.Install]*attached
	// early has the servers that died of the file of an install before it had settled.
	early map[*registry.Install][]rollout.Death
	// touched are the rollouts that may have come into another phase.
	touched map[*attached]bool
	// number is that of the latest rollout.
	number uint64
	pauses rollout.Pauses
	// keepsOrphans says that restored rollouts are kept without an install.
	keepsOrphans bool
	// history has the rollouts that are over, the latest last.
	history []rollout.Report
}

// of is the rollout that a process takes part in, nil if there is none.
func (s *rollouts) of(pid selector.PID) *attached {
	p := s.registry.Process(pid)
	switch {
	case p == nil:
		return nil
	case p.Install == nil:
		return s.traits.of(pid).restored
	}
	return s.at[p.Install]
}

// member is what the rollout of a process knows of it, nil if there is none.
func (s *rollouts) member(pid selector.PID) *rollout.Member {
	if r := s.of(pid); r != nil {
		return r.Member(pid)
	}
	return nil
}

// attach brings an install to the rollout of its file, if that can be exec'd.
func (s *rollouts) attach(i *registry.Install, now time.Time) {
	from := s.at[i]
	if !i.IsReady() {
		if from != nil {
			s.touch(from)
		}
		return
	}
	to := s.byImage[i.File.Image]
	if to == nil || !i.File.SameFile(to.Install()) { // an inode number may be used again
		to = s.begin(i.File)
	}
	s.touch(to)
	if from != to {
		s.join(i, to)
		s.countEarlyDeaths(i, now)
	}
}

// join brings an install from the rollout that it had, if any, to another.
func (s *rollouts) join(i *registry.Install, to *attached) {
	from := s.at[i]
	to.installs = append(to.installs, i)
	s.at[i] = to
	s.persist.rollout(to)
	if from == nil {
		return
	}
	for m := range from.Members() {
		if p := s.registry.Process(m.PID); p != nil && p.Install == i {
			s.carry(from, to, m)
		}
	}
	s.leave(from, i)
}

// begin begins a rollout.
func (s *rollouts) begin(file selector.Install) *attached {
	s.number++
	if last := s.byImage[file.Image]; last != nil && len(last.installs) == 0 && last.IsAbandoned() && !s.hasUnbound(last) {
		s.persist.forget(last) // another file has its inode number
	}
	r := &attached{}
	r.Rollout = rollout.New(s.config(r), s.number, file, time.Now())
	s.byImage[file.Image] = r
	return r
}

// config is what a rollout works with.
func (s *rollouts) config(r *attached) rollout.Config {
	cfg := s.cfg
	cfg.IsPaused = func(uid uint32) bool { return s.pauses.For(uid) != nil }
	cfg.Moved = func(m rollout.Member, from rollout.State) {
		if m.State == rollout.Crashed || m.State == rollout.Upgraded || m.Late { // first: what follows from it for others
			s.persist.rollout(r)
		}
		_ = s.persist.member(&m)
		s.observer.Moved(m, from)
		s.planner.moved(&m, from)
	}
	return cfg
}

// carry takes a member over into another rollout, if anything is to be kept of it.
func (s *rollouts) carry(from, to *attached, m *rollout.Member) {
	s.traits.set(m.PID).rank = m.NextRank()
	if to.Carry(from.Rollout, m) {
		s.planner.plan(m)
		_ = s.persist.member(m)
	} else {
		s.disown(m)
	}
}

// disown forgets what was kept of a member that is in no rollout any more.
func (s *rollouts) disown(m *rollout.Member) {
	kept := *m
	kept.State = rollout.None
	_ = s.persist.member(&kept)
	s.planner.stop(m.PID)
}

// reassign takes a process from the rollout of the install that it named before to that of another. A member that was
// signalled, and runs what it ran then, will exec the file of the other install; any other has exec'd it.
func (s *rollouts) reassign(p *registry.Process, from, to *registry.Install, now time.Time) {
	r := s.at[from]
	if r == nil {
		return
	}
	s.touch(r)
	m := r.Member(p.PID)
	switch next := s.at[to]; {
	case m == nil || r == next:
	case next == nil && m.State.IsPersistent() && m.Ran == p.Image: // it stays signalled until a file is reported there
		s.join(to, r)
	case next != nil && m.Ran == p.Image:
		s.carry(r, next, m)
		s.touch(next)
	default:
		r.Reassign(m, now)
	}
}

// detach takes an install from its rollout.
func (s *rollouts) detach(i *registry.Install) {
	delete(s.early, i)
	r := s.at[i]
	if r == nil {
		return
	}
	delete(s.at, i)
	for m := range r.Members() {
		if p := s.registry.Process(m.PID); p != nil && p.Install == i {
			r.Drop(m)
			s.disown(m)
		}
	}
	s.leave(r, i)
}

// stopWaiting notes that no server is signalled at present, be it idle or busy.
func (s *rollouts) stopWaiting() {
	for _, r := range s.byImage {
		r.StopWaiting()
	}
}

// maxHistory is how many rollouts that are over are remembered.
const maxHistory = 64

// leave ends a rollout when its last install has left it.
func (s *rollouts) leave(r *attached, i *registry.Install) {
	r.installs = slices.DeleteFunc(r.installs, func(other *registry.Install) bool { return other == i })
	if len(r.installs) > 0 {
		s.touch(r)
		return
	}
	if image := r.Install().Image; s.byImage[image] == r && !r.IsAbandoned() {
		delete(s.byImage, image)
	}
	r.reported = ""
	delete(s.touched, r)
	over := s.report(r)
	over.Superseded = true
	s.history = append(s.history, over)
	s.history = s.history[max(0, len(s.history)-maxHistory):]
	s.observer.Rollout(over)
	s.drop(r)
}

// touch notes that a rollout may have come into another phase.
func (s *rollouts) touch(r *attached) { s.touched[r] = true }

func (s *rollouts) touchAll() {
	for _, r := range s.byImage {
		s.touch(r)
	}
}

// tell tells the observer which rollouts have come into another phase, or have another number of halts.
func (s *rollouts) tell() {
	for r := range s.touched {
		delete(s.touched, r)
		if len(r.installs) == 0 {
			continue
		}
		if now := s.report(r); now.Phase != r.reported || len(now.Halts) != r.reportedHalts {
			r.reported, r.reportedHalts = now.Phase, len(now.Halts)
			s.persist.rollout(r)
			s.observer.Rollout(now)
		}
	}
}

// report says how far a rollout has come. It is idle while no file of its installs can be exec'd.
func (s *rollouts) report(r *attached) rollout.Report {
	r.HasDeferred = s.isPostponed(r)
	report := r.Report(s.pauses.All != nil)
	if len(r.installs) > 0 && !slices.ContainsFunc(r.installs, (*registry.Install).IsReady) {
		report.Phase = rollout.PhaseIdle
	}
	return report
}

// isPostponed reports whether a process is yet to be inspected that may belong to a rollout.
func (s *rollouts) isPostponed(r *attached) bool {
	if !s.registry.Learns() {
		return s.holds.any() || s.deferred.any()
	}
	return slices.ContainsFunc(r.installs, func(i *registry.Install) bool { return s.holds.has(i.Owner) || s.deferred.has(i.Owner) })
}

// surveyed notes that the processes of an install were inspected.
func (s *rollouts) surveyed(i *registry.Install) {
	if r := s.at[i]; r != nil {
		r.IsResynced = true
		s.touch(r)
	}
}

// current are the reports of the rollouts under way, ascending by number.
func (s *rollouts) current() []rollout.Report {
	all := make([]rollout.Report, 0, len(s.byImage))
	for _, r := range s.byImage {
		if len(r.installs) > 0 {
			all = append(all, s.report(r))
		}
	}
	slices.SortFunc(all, func(a, b rollout.Report) int { return cmp.Compare(a.Number, b.Number) })
	return all
}
