// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"sync"
	"time"

	"ebpf-upgrader/internal/control"
)

// refusals reads the signals that the gate has counted. Each read reports new ones as events. The counts are read after an
// inspection, and when status or the events are requested.
type refusals struct {
	gate gate
	feed *control.Feed

	mu sync.Mutex // guards the rest
	// next is when they may be reported again.
	next time.Time
	// total is how many there were when they were read after an inspection.
	total uint64
}

// refusalsEvery is the time between two reports: a server may signal without a pause.
const refusalsEvery = 5 * time.Second

// read returns all refusals, the last one first.
func (r *refusals) read() ([]control.Refusal, error) {
	counted, err := r.gate.Refusals()
	if err != nil {
		return nil, err
	}
	all := make([]control.Refusal, len(counted))
	for i, c := range counted {
		all[i] = control.Refusal{Sender: c.Sender, Target: c.Target, Count: c.Count, Last: c.Last}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); !now.Before(r.next) && r.feed.GateRefused(all) > 0 {
		r.next = now.Add(refusalsEvery)
	}
	return all, nil
}

// readNew reads the refusals if there are more than before. It is called after every inspection, so it must cost little.
func (r *refusals) readNew() error {
	if !r.isDue() {
		return nil
	}
	stats, err := r.gate.Stats()
	if err != nil || !r.hasGrown(stats.Refused) {
		return err
	}
	_, err = r.read()
	return err
}

func (r *refusals) isDue() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !time.Now().Before(r.next)
}

func (r *refusals) hasGrown(total uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	hasGrown := total != r.total
	r.total = total
	return hasGrown
}
