// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"sync"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
)

// refusals reads the signals that the gate has counted. Each read reports new ones as events. The counts are read after an
// inspection, and when status or the events are requested.
type refusals struct {
	gate gate
	feed *control.Feed

	mu sync.Mutex // guards next
	// next is when they may be reported again.
	next time.Time
	// total is how many there were at the last readNew, which only the loop calls.
	total uint64
}

// refusalsEvery is the time between two reports: a server may signal without a pause.
const refusalsEvery = 5 * time.Second

// status is what status shows of the gate: the last refusal first, and not all.
func (r *refusals) status() (api.Gate, error) {
	status, err := r.gate.status()
	if err != nil || !status.Active {
		return status, err
	}
	latest, err := r.read()
	status.Latest = append(status.Latest, latest[:min(len(latest), maxRefusals)]...)
	return status, err
}

// read returns all refusals, the last one first.
func (r *refusals) read() ([]api.Refusal, error) {
	counted, err := r.gate.Refusals()
	if err != nil {
		return nil, err
	}
	all := make([]api.Refusal, len(counted))
	for i, c := range counted {
		all[i] = api.Refusal(c)
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
	r.mu.Lock()
	isDue := !time.Now().Before(r.next)
	r.mu.Unlock()
	if !isDue {
		return nil
	}
	stats, err := r.gate.Stats()
	if err != nil || stats.Refused == r.total {
		return err
	}
	r.total = stats.Refused
	_, err = r.read()
	return err
}
