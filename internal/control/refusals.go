// SPDX-License-Identifier: MIT

//go:build linux

package control

import (
	"cmp"
	"slices"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/selector"
)

// maxRefusals limits how many refusals are reported at a time: a user may have as many pairs of servers as the gate counts,
// and must not push the events of others out of the feed.
const maxRefusals = 64

// route is the sender and the target of a refused signal.
type route struct{ sender, target selector.PID }

// GateRefused takes the counts of the gate, and adds an event for each sender and target with new refusals, the oldest first.
// It returns the number of events. What exceeds the limit is reported the next time.
func (f *Feed) GateRefused(counted []api.Refusal) (events int) {
	f.refusals.Lock()
	defer f.refusals.Unlock()
	reported := make(map[route]uint64, len(counted)) // only of pairs that the gate still counts
	counted = slices.Clone(counted)
	slices.SortStableFunc(counted, func(a, b api.Refusal) int { return cmp.Or(a.Last.Compare(b.Last), cmp.Compare(a.Target, b.Target)) })
	for _, r := range counted {
		at := route{r.Sender, r.Target}
		before := f.reported[at]
		if before > r.Count { // the gate had forgotten the pair
			before = 0
		}
		reported[at] = before
		if before != r.Count && events < maxRefusals {
			events++
			reported[at] = r.Count
			f.add(Event{Kind: EventGate, PID: r.Target, Sender: r.Sender, Count: r.Count - before})
		}
	}
	f.reported = reported
	return events
}
