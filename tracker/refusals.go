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
	// Missed counts signals that passed without a check: a task that sent one interrupted the program on the same CPU.
	// The kernel's recursion guard skips the program then, since Linux 5.12; under lsm it does not since 6.2.
	Missed uint64
}

// Refusal counts the signals from one process to another that were refused since the gate was enabled.
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

// Refusals returns the latest refusals by sender and target, the last one first. The map holds about a thousand pairs;
// [Gate.Stats] also counts those that were evicted from it.
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
		all = append(all, Refusal{selector.PID(route.Sender), selector.PID(route.Target), seen.Count, timeOf(seen.Last)})
	}
	if err := entries.Err(); err != nil {
		return nil, fmt.Errorf("read the refusals: %w", err)
	}
	slices.SortFunc(all, func(a, b Refusal) int { return cmp.Or(b.Last.Compare(a.Last), int(a.Target)-int(b.Target)) })
	return all, nil
}

// Exempt takes a tracked process out of the gate: signals from it and to it pass, as if it were not tracked. inspected
// is when the process was inspected. If it has exec'd since, it stays covered. Every exec covers a process again.
//
// A process with a PID above kernel.pid_max as it was when the Tracker was opened cannot be exempted.
func (g *Gate) Exempt(pid selector.PID, inspected time.Time) error {
	if changed, err := g.changeMark(pid, markIn, markExempt); err != nil || !changed {
		return err
	}
	// The entry is read after the mark was changed: an exec from now on sets the mark again.
	s, _, err := g.tracker.entry(pid)
	if err != nil || s.CreatedAt == 0 || timeOf(s.CreatedAt).Before(inspected) {
		return err
	}
	return g.Cover(pid)
}

// Cover ends the exemption of a process.
func (g *Gate) Cover(pid selector.PID) error {
	_, err := g.changeMark(pid, markExempt, markIn)
	return err
}

// Covers reports whether the gate covers a process: the process is tracked and not exempt.
func (g *Gate) Covers(pid selector.PID) (bool, error) {
	g.use.RLock()
	defer g.use.RUnlock()
	if !g.Active() {
		return false, nil
	}
	_, known, err := g.tracker.entry(pid)
	return known && g.tracker.markOf(pid) != markExempt, err
}

// changeMark replaces one mark by another, and reports whether it did. It makes no system call.
func (g *Gate) changeMark(pid selector.PID, from, to byte) (changed bool, err error) {
	g.use.RLock()
	defer g.use.RUnlock()
	t := g.tracker
	if !g.Active() || uint64(pid) >= uint64(t.marks.Size()) || t.markOf(pid) != from {
		return false, nil
	}
	return true, t.setMark(pid, to)
}
