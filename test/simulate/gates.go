// SPDX-License-Identifier: MIT

package main

import (
	"time"

	"ebpf-upgrader/internal/fleet"
)

// none lets every host go as soon as it has the file.
type none struct{}

func (none) enter(*world, int) (bool, time.Duration) { return true, 0 }
func (none) done(*world, int)                        {}
func (none) fail(*world, int)                        {}
func (none) isStuck() bool                           { return false }

// semaphore has a number of slots. A failed host keeps its slot, as the better ones of them have it.
type semaphore struct{ slots, used, kept int }

func (s *semaphore) enter(w *world, _ int) (bool, time.Duration) {
	if s.used >= s.slots {
		return false, 30*time.Second + w.upTo(time.Minute)
	}
	s.used++
	w.request(1)
	return true, 0
}

func (s *semaphore) done(*world, int) { s.used-- }

// fail keeps the slot. After a late crash there is none to keep.
func (s *semaphore) fail(w *world, _ int) {
	if w.later == 0 {
		s.kept++
	}
}

func (s *semaphore) isStuck() bool { return s.kept == s.slots }

// waves is the rule of the program itself.
type waves struct {
	policy fleet.Policy
	state  fleet.State
	// largest is the record's size at its largest. It is measured at every 16th change.
	largest, changes int
}

func newWaves() *waves { return &waves{policy: fleet.DefaultPolicy(), state: fleet.State{Version: 1}} }

func (g *waves) enter(w *world, h int) (bool, time.Duration) {
	a, changed := g.policy.Enter(&g.state, w.hosts[h], release, w.now)
	if changed {
		w.request(1)
		g.measure()
	}
	return a.Granted(), fleet.Wait(a, w.now, w.random.Float64())
}

func (g *waves) done(w *world, h int) {
	w.hosts[h].Counted = g.policy.Done(&g.state, w.hosts[h], release, w.now) || w.hosts[h].Counted
}

func (g *waves) fail(w *world, h int) {
	g.policy.Fail(&g.state, w.hosts[h], release, "died", w.now)
	w.hosts[h].Counted = false
}

func (g *waves) isStuck() bool {
	r := g.state.Find(release)
	return r != nil && len(r.Seats) == 0 && len(r.Failed) >= g.policy.Waves[len(g.policy.Waves)-1].MaxFailed
}

func (g *waves) measure() {
	if g.changes++; g.changes%16 != 0 {
		return
	}
	data, _ := g.state.Encode()
	g.largest = max(g.largest, len(data))
}
