// SPDX-License-Identifier: MIT

//go:build linux

package control

import (
	"cmp"
	"slices"

	"ebpf-upgrader/selector"
)

// mostRefusals bounds how many refusals are told at a time: a user may have as many pairs of servers as the gate counts,
// and must not push the events of others out of the feed.
const mostRefusals = 64

// route is where a refused signal came from, and where it was to go.
type route struct{ sender, target selector.PID }

// GateRefused takes what the gate counted so far, and tells of what is new since the last time: one event for each sender and
// target, the oldest first. It answers with their number; what is too much for once is told the next time.
func (f *Feed) GateRefused(counted []Refusal) (events int) {
	f.refusals.Lock()
	defer f.refusals.Unlock()
	told := make(map[route]uint64, len(counted)) // of those alone that the gate still counts
	counted = slices.Clone(counted)
	slices.SortStableFunc(counted, func(a, b Refusal) int { return cmp.Or(a.Last.Compare(b.Last), cmp.Compare(a.Target, b.Target)) })
	for _, r := range counted {
		at := route{r.Sender, r.Target}
		before := f.told[at]
		if before > r.Count { // the gate had forgotten the pair
			before = 0
		}
		told[at] = before
		if before != r.Count && events < mostRefusals {
			events++
			told[at] = r.Count
			f.add(Event{Kind: EventGate, PID: r.Target, Sender: r.Sender, Count: r.Count - before})
		}
	}
	f.told = told
	return events
}
