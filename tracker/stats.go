// SPDX-License-Identifier: MIT

//go:build linux

package tracker

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"

	"ebpf-upgrader/selector"
)

// Stats are counts since Open, except Entries, Capacity and Outside, which are sizes.
type Stats struct {
	// Entries is how many processes the map holds, and Capacity how many it can hold.
	Entries, Capacity uint32
	// Outside is how many processes of the last result of [Tracker.Candidates] do not fit into the map: their signals
	// are not recorded, and the gate does not cover them.
	Outside uint32
	// LostMapFull counts processes that did not fit into the map, LostRingFull events that did not fit into the ring,
	// and Missed runs of the programs that the kernel skipped. Each leads to a scan.
	LostMapFull, LostRingFull, Missed uint64
	// UnreadableArgs counts processes that are tracked because their arguments could not be read.
	UnreadableArgs uint64
	// Resyncs counts scans, the first one included.
	Resyncs uint64
	// AuditMissing and AuditExtra count what audits repaired.
	AuditMissing, AuditExtra uint64
}

// Stats reads all counters.
func (t *Tracker) Stats() (Stats, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, err := t.kernelStats()
	if err != nil {
		return Stats{}, err
	}
	pids, err := t.snapshot()
	if err != nil {
		return Stats{}, err
	}
	s.Entries, s.Capacity, s.Outside = uint32(len(pids)), t.capacity, t.counts.outside
	s.LostMapFull += t.counts.seedMapFull
	s.Resyncs = t.counts.resyncs
	s.AuditMissing, s.AuditExtra = t.counts.auditMissing, t.counts.auditExtra
	return s, nil
}

// kernelStats reads the counters of the kernel and of the programs.
func (t *Tracker) kernelStats() (s Stats, err error) {
	s.Missed, err = t.missed()
	err = errors.Join(
		err,
		t.objects.LostMapFull.Get(&s.LostMapFull),
		t.objects.LostRingFull.Get(&s.LostRingFull),
		t.objects.UnreadableArgs.Get(&s.UnreadableArgs),
	)
	if err != nil {
		return Stats{}, fmt.Errorf("read counters: %w", err)
	}
	return s, nil
}

// missed is how many runs of the programs the kernel skipped, because another run of the same program had not ended on
// the CPU (bpf_prog_inc_misses_counter, since Linux 5.12). That happens where programs can be preempted.
func (t *Tracker) missed() (sum uint64, err error) {
	for _, program := range []*ebpf.Program{t.objects.OnExec, t.objects.OnFork, t.objects.OnExit, t.objects.OnSignal} {
		stats, err := program.Stats()
		if err != nil {
			return 0, err
		}
		sum += stats.RecursionMisses
	}
	return sum, nil
}

// Difference is the result of an audit: servers that the map lacked, and entries of processes that have ended. Audit
// repairs both before it returns.
type Difference struct {
	Missing, Extra []selector.PID
}

// Audit compares the map with a scan. A process that starts or ends meanwhile is no difference. Neither is a living
// process that only the map has, because the map may hold too many.
func (t *Tracker) Audit(ctx context.Context) (Difference, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before, err := t.snapshot()
	if err != nil {
		return Difference{}, err
	}
	scanned, err := t.cfg.Seed(ctx)
	if err != nil {
		return Difference{}, fmt.Errorf("audit: %w", err)
	}
	after, err := t.snapshot()
	if err != nil {
		return Difference{}, err
	}
	var d Difference
	if d.Missing = missing(scanned, setOf(before, after)); len(d.Missing) > 0 {
		// The child of a server looks like its parent until its exec. What a second scan lists as well is missing.
		if scanned, err = t.cfg.Seed(ctx); err != nil {
			return Difference{}, fmt.Errorf("audit: %w", err)
		}
		latest, err := t.snapshot()
		if err != nil {
			return Difference{}, err
		}
		listed, known := setOf(scanned), setOf(latest)
		d.Missing = slices.DeleteFunc(d.Missing, func(pid selector.PID) bool { return !listed[pid] || known[pid] || ended(pid) })
	}
	remaining := setOf(after)
	for _, pid := range before {
		if remaining[pid] && ended(pid) {
			d.Extra = append(d.Extra, pid)
		}
	}
	return d, t.repair(d)
}

func missing(scanned []selector.PID, known map[selector.PID]bool) []selector.PID {
	var pids []selector.PID
	for _, pid := range scanned {
		if !known[pid] && !ended(pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func (t *Tracker) repair(d Difference) error {
	t.counts.auditMissing += uint64(len(d.Missing))
	t.counts.auditExtra += uint64(len(d.Extra))
	overflow, err := t.insert(d.Missing)
	t.overflow = t.overflow || overflow
	for _, pid := range d.Extra {
		err = errors.Join(err, t.drop(pid))
	}
	return err
}

func setOf(lists ...[]selector.PID) map[selector.PID]bool {
	set := make(map[selector.PID]bool)
	for _, list := range lists {
		for _, pid := range list {
			set[pid] = true
		}
	}
	return set
}
