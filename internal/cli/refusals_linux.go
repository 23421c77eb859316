// SPDX-License-Identifier: MIT

package cli

import (
	"sync"
	"time"

	"ebpf-upgrader/internal/control"
)

// refusals are what the gate counts. Whenever they are read the events tell what is new: after an inspection, and when
// status or the events are asked for.
type refusals struct {
	gate gate
	feed *control.Feed

	mu   sync.Mutex // guards the rest
	next time.Time
	// seen is how many there were when they were read after an inspection.
	seen uint64
}

// refusalsEvery is the time between two tellings: a server may signal without a pause.
const refusalsEvery = 5 * time.Second

// read gives all, the last one first.
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

// look reads them if there are more. It is called after every inspection, so that it must cost little.
func (r *refusals) look() error {
	if !r.areDue() {
		return nil
	}
	stats, err := r.gate.Stats()
	if err != nil || !r.isNew(stats.Refused) {
		return err
	}
	_, err = r.read()
	return err
}

func (r *refusals) areDue() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !time.Now().Before(r.next)
}

func (r *refusals) isNew(total uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	isNew := total != r.seen
	r.seen = total
	return isNew
}
