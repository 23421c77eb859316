// SPDX-License-Identifier: MIT

//go:build linux

package tracker

import (
	"context"
	"errors"
	"fmt"

	"ebpf-upgrader/selector"
)

// Stats are counts since Open, but for Entries, Capacity and Outside.
type Stats struct {
	Entries, Capacity uint32
	// Outside is how many processes the last answer of [Tracker.Candidates] had that did not fit into the map: their
	// signals are not seen, and the gate does not cover them.
	Outside uint32
	// LostMapFull counts processes that did not fit into the map, LostRingFull changes that were not
	// told, Missed runs of the programs that the kernel left out. Each leads to a scan.
	LostMapFull, LostRingFull, Missed uint64
	// UnreadableArgs counts processes that were taken in because their arguments could not be read.
	UnreadableArgs uint64
	// Resyncs counts scans, the first one included.
	Resyncs uint64
	// AuditMissing and AuditExtra count what audits put right.
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
	s.Entries, s.Capacity, s.Outside = uint32(len(pids)), t.capacity, t.counted.outside
	s.LostMapFull += t.counted.seedMapFull
	s.Resyncs = t.counted.resyncs
	s.AuditMissing, s.AuditExtra = t.counted.auditMissing, t.counted.auditExtra
	return s, nil
}

// kernelStats reads what the kernel counts. A program is left out when it would run inside itself on
// the same CPU (bpf_prog_inc_misses_counter, since Linux 5.12; older kernels do not count it).
func (t *Tracker) kernelStats() (Stats, error) {
	var s Stats
	err := errors.Join(
		t.objects.LostMapFull.Get(&s.LostMapFull),
		t.objects.LostRingFull.Get(&s.LostRingFull),
		t.objects.UnreadableArgs.Get(&s.UnreadableArgs),
	)
	for _, program := range t.programs() {
		stats, statsErr := program.Stats()
		if statsErr != nil {
			err = errors.Join(err, statsErr)
			continue
		}
		s.Missed += stats.RecursionMisses
	}
	if err != nil {
		return Stats{}, fmt.Errorf("read counters: %w", err)
	}
	return s, nil
}

// Difference is what an audit found: servers that the map lacked, and entries of processes that have
// ended. Both are put right before Audit returns.
type Difference struct {
	Missing, Extra []selector.PID
}

// Audit holds the map against a scan. A process that starts or ends meanwhile is no difference, and
// neither is one that only the map has: it may hold too much, as long as the process lives.
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
	known := setOf(before, after)
	for _, pid := range scanned {
		if !known[pid] && !ended(pid) {
			d.Missing = append(d.Missing, pid)
		}
	}
	stayed := setOf(after)
	for _, pid := range before {
		if stayed[pid] && ended(pid) {
			d.Extra = append(d.Extra, pid)
		}
	}
	return d, t.heal(d)
}

func (t *Tracker) heal(d Difference) error {
	t.counted.auditMissing += uint64(len(d.Missing))
	t.counted.auditExtra += uint64(len(d.Extra))
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
