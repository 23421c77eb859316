// SPDX-License-Identifier: MIT

//go:build linux

package tracker

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"ebpf-upgrader/gen"
	"ebpf-upgrader/selector"
)

// GateStats are counts since the gate was enabled.
type GateStats struct {
	// Refused counts signals that were refused.
	Refused uint64
	// Missed counts signals that passed unseen, because the program was interrupted on the same CPU by a task that
	// sent one (the guard of Linux 5.12 and later; none under lsm since 6.2).
	Missed uint64
}

// Refusal is what was refused from one process to another since the gate was enabled.
type Refusal struct {
	Sender, Target selector.PID
	Count          uint64
	Last           time.Time
}

// Stats reads the counters.
func (g *Gate) Stats() (GateStats, error) {
	g.use.RLock()
	defer g.use.RUnlock()
	if !g.Active() {
		return GateStats{}, ErrClosed
	}
	var s GateStats
	runs, err := g.program.Stats()
	if err = errors.Join(err, g.objects.Refused.Get(&s.Refused)); err != nil {
		return GateStats{}, fmt.Errorf("read the gate's counters: %w", err)
	}
	s.Missed = runs.RecursionMisses
	return s, nil
}

// Refusals are the latest, by sender and target, the last one first. The map holds a thousand pairs; the total of
// [Gate.Stats] has those that fell out of it as well.
func (g *Gate) Refusals() ([]Refusal, error) {
	g.use.RLock()
	defer g.use.RUnlock()
	if !g.Active() {
		return nil, ErrClosed
	}
	var all []Refusal
	var route gen.GateRoute
	var seen gen.GateRefusal
	entries := g.counts.Iterate()
	for entries.Next(&route, &seen) {
		all = append(all, Refusal{selector.PID(route.Sender), selector.PID(route.Target), seen.Count, happened(seen.Last)})
	}
	if err := entries.Err(); err != nil {
		return nil, fmt.Errorf("read what the gate refused: %w", err)
	}
	slices.SortFunc(all, func(a, b Refusal) int { return cmp.Or(b.Last.Compare(a.Last), int(a.Target)-int(b.Target)) })
	return all, nil
}

// Exempt takes a tracked process out of the gate: signals from it and to it pass, as if it were not tracked. seen is
// when it was looked at: if it has exec'd since, it stays covered, as after each exec until it is exempted anew.
//
// A process with a PID beyond those that the kernel gave out when the Tracker was opened (kernel.pid_max was
// raised since) cannot be exempted.
func (g *Gate) Exempt(pid selector.PID, seen time.Time) error {
	if changed, err := g.remark(pid, markIn, markExempt); err != nil || !changed {
		return err
	}
	// After the mark: an exec from now on sets it again.
	s, _, err := g.tracker.entry(pid)
	if err != nil || s.Since == 0 || happened(s.Since).Before(seen) {
		return err
	}
	return g.Cover(pid)
}

// Cover puts an exempt process back.
func (g *Gate) Cover(pid selector.PID) error {
	_, err := g.remark(pid, markExempt, markIn)
	return err
}

// Covers reports whether the gate stands before a process: it is tracked, and not exempt.
func (g *Gate) Covers(pid selector.PID) (bool, error) {
	g.use.RLock()
	defer g.use.RUnlock()
	if !g.Active() {
		return false, nil
	}
	_, known, err := g.tracker.entry(pid)
	return known && g.tracker.markOf(pid) != markExempt, err
}

// remark costs no system call.
func (g *Gate) remark(pid selector.PID, from, to byte) (changed bool, err error) {
	g.use.RLock()
	defer g.use.RUnlock()
	t := g.tracker
	if !g.Active() || uint64(pid) >= uint64(t.marks.Size()) || t.markOf(pid) != from {
		return false, nil
	}
	return true, t.setMark(pid, to)
}
