// SPDX-License-Identifier: MIT

//go:build linux

package control

import (
	"cmp"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/rollout"
)

// Kept is what an earlier service has kept of its [Feed].
type Kept struct {
	Events  []Event
	Records []api.RolloutRecord
	// Rollouts are those that the service goes on with.
	Rollouts []rollout.Snapshot
}

// Restore takes up what was kept, in a Feed without events. Records are brought up to date by the events after them.
func (f *Feed) Restore(kept Kept) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range kept.Records {
		restored := f.records.of(r.Number)
		fresh := restored.RolloutRecord
		restored.RolloutRecord = r
		restored.Current = false
		if r.Servers == nil {
			restored.Servers = fresh.Servers
		}
	}
	for _, e := range kept.Events {
		f.restoreEvent(e)
	}
	for i := range kept.Rollouts {
		saved := &kept.Rollouts[i]
		r := f.records.of(saved.Number)
		r.Current, r.Install, r.Started = true, saved.Install, saved.Started
	}
	for _, r := range f.records {
		r.hasMoved = r.hasMoved && r.Current
	}
}

// restoreEvent takes up an event, unless it lacks what an event of its kind has: the file may be damaged.
func (f *Feed) restoreEvent(e Event) {
	if e.Seq <= f.last || e.Kind == EventServer && (e.UID == nil || e.From == nil || e.State == nil) {
		return
	}
	e.SchemaVersion = api.SchemaVersion
	f.last = e.Seq
	f.kept = append(f.kept, e)
	f.trim()
	if e.Kind != EventServer || e.Rollout == 0 {
		return
	}
	at, isKnown := f.records.find(e.Rollout)
	if !isKnown {
		r := f.records.of(e.Rollout)
		r.Started, r.Current = e.Time, false
		at, _ = f.records.find(e.Rollout)
	}
	if r := f.records[at]; e.Seq > r.Seq {
		r.Install.Path = cmp.Or(r.Install.Path, e.Path)
		r.move(e)
	}
}

// Keep passes each further event, and each rollout that has changed, to functions that must not block.
func (f *Feed) Keep(event func(Event), record func(api.RolloutRecord)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keepEvent, f.keepRecord = event, record
}

// LatestRollout is the highest number of a rollout that was kept.
func (k Kept) LatestRollout() (number uint64) {
	for _, r := range k.Records {
		number = max(number, r.Number)
	}
	for _, e := range k.Events {
		number = max(number, e.Rollout)
	}
	return number
}
