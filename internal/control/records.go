// SPDX-License-Identifier: MIT

//go:build linux

package control

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/history"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// recordsKept is how many rollouts are remembered; beyond that a quarter of them is forgotten.
const recordsKept = 1024

// record is what is known of a rollout.
type record struct {
	api.RolloutRecord
	// hasMoved says that a server was signalled, or has its outcome, since the rollout ended.
	hasMoved bool
}

// RecordUser returns the user that a rollout counts for, or [history.NoUser] if it has servers of several users.
func RecordUser(r api.RolloutRecord) int64 {
	if len(r.Users) == 1 {
		return int64(r.Users[0])
	}
	return history.NoUser
}

// move takes the event of a server.
func (r *record) move(e Event) {
	r.Seq = e.Seq
	from, to := *e.From, *e.State
	if !slices.Contains(r.Users, *e.UID) && len(r.Users) < api.MaxRecordUsers {
		r.Users = append(r.Users, *e.UID)
	}
	if e.FromImage != nil {
		r.ran(selector.Binary{Image: *e.FromImage})
	}
	if from == to || to == rollout.None { // one that leaves, as for the next rollout, stays in the counts until the next report
		return
	}
	if from != rollout.Upgraded && r.Servers[from] > 0 { // a session that ends later still counts as upgraded
		r.Servers[from]--
	}
	if to == rollout.Crashed && len(r.Deaths) < api.MaxRecordDeaths {
		r.Deaths = append(r.Deaths, api.DeathRecord{
			Time: e.Time, PID: e.PID, UID: *e.UID, Canary: e.Canary, ByOther: e.ByOther, Detail: e.Detail,
		})
	}
	r.Servers[to]++
	r.hasMoved = r.hasMoved || to != rollout.Pending && to != rollout.Skipped
}

// ran notes what a server ran before.
func (r *record) ran(before selector.Binary) {
	at := slices.IndexFunc(r.From, func(b selector.Binary) bool { return b.Image == before.Image })
	switch {
	case at < 0 && len(r.From) < api.MaxRecordImages:
		r.From = append(r.From, before)
	case at >= 0 && before.Build != selector.Build{}:
		r.From[at] = before
	}
}

// report takes the phase of a rollout. The report of a service that has restarted does not count those that had ended
// before.
func (r *record) report(now rollout.Report, at time.Time) {
	r.Current = !now.Superseded
	if now.From.Known() {
		r.ran(now.From)
	}
	r.Install, r.Started, r.Superseded = now.Install, now.Started, now.Superseded
	if !now.Superseded { // its members have left: it would be complete
		r.Phase = now.Phase
	}
	r.Halts = slices.Clone(now.Halts[:min(len(now.Halts), api.MaxRecordDeaths)])
	for i := range r.Halts {
		r.Halts[i].Deaths, r.Halts[i].Next = nil, 0 // the record has the deaths
	}
	counts := make(map[rollout.State]int)
	for _, s := range rollout.States() {
		n := now.Servers[s]
		if now.Superseded || s == rollout.Upgraded || s == rollout.Crashed || s == rollout.Exited {
			n = max(n, r.Servers[s])
		}
		if n > 0 {
			counts[s] = n
		}
	}
	r.Servers = counts
	if (now.Phase.IsOver() || now.Superseded) && (r.hasMoved || r.Ended.IsZero()) {
		r.Ended, r.hasMoved = at, false
	}
}

// isWorthKeeping reports whether a server was outdated or signalled. That some were skipped is no rollout.
func (r *record) isWorthKeeping() bool {
	if len(r.Deaths)+len(r.Halts) > 0 {
		return true
	}
	for state, n := range r.Servers {
		if n > 0 && state != rollout.Skipped {
			return true
		}
	}
	return false
}

// copied returns a copy of the record, which a reader may keep.
func (r *record) copied() api.RolloutRecord {
	c := r.RolloutRecord
	c.Users, c.From, c.Deaths, c.Halts = slices.Clone(r.Users), slices.Clone(r.From), slices.Clone(r.Deaths), slices.Clone(r.Halts)
	c.Servers = maps.Clone(r.Servers)
	maps.DeleteFunc(c.Servers, func(_ rollout.State, n int) bool { return n == 0 })
	if r.hasMoved {
		c.Ended = time.Time{}
	}
	return c
}

// records are those of the rollouts, ascending by number.
type records []*record

func (all records) find(number uint64) (at int, isKnown bool) {
	return slices.BinarySearchFunc(all, number, func(r *record, n uint64) int { return cmp.Compare(r.Number, n) })
}

// of is the record of a rollout, which is made where there is none.
func (all *records) of(number uint64) *record {
	at, isKnown := all.find(number)
	if isKnown {
		return (*all)[at]
	}
	r := &record{RolloutRecord: api.RolloutRecord{
		Number: number, Phase: rollout.PhaseCanary, Current: true,
		Users: []uint32{}, From: []selector.Binary{}, Servers: map[rollout.State]int{}, Deaths: []api.DeathRecord{}, Halts: []rollout.Halt{},
	}}
	*all = slices.Insert(*all, at, r)
	if len(*all) > recordsKept {
		kept := history.Trim(*all, recordsKept*3/4, func(*record) int { return 1 }, func(r *record) int64 { return RecordUser(r.RolloutRecord) })
		*all = slices.DeleteFunc(*all, func(r *record) bool { return !r.Current && !slices.Contains(kept, r) })
	}
	return r
}

// remove forgets a rollout.
func (all *records) remove(number uint64) {
	*all = slices.DeleteFunc(*all, func(r *record) bool { return r.Number == number })
}

// matches reports whether a filter selects a rollout.
func (f EventFilter) matches(r *record) bool {
	last := cmp.Or(r.Ended, r.Started)
	return (f.UID == nil || slices.Contains(r.Users, *f.UID)) &&
		(f.Path == "" || f.Path == r.Install.Path) &&
		(f.Since.IsZero() || r.Current || !last.Before(f.Since))
}

// Records returns the rollouts that a filter selects, ascending by number: those with servers. The filter's kinds do not
// count. With a user, the deaths and halts are those of that user.
func (f *Feed) Records(filter EventFilter) []api.RolloutRecord {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := []api.RolloutRecord{}
	for _, r := range f.records {
		if !r.isWorthKeeping() || !filter.matches(r) {
			continue
		}
		c := r.copied()
		if uid := filter.UID; uid != nil {
			if len(c.Users) > 1 { // the counts are those of all
				c.Servers, c.From = make(map[rollout.State]int), []selector.Binary{}
			}
			c.Users = []uint32{*uid}
			c.Deaths = slices.DeleteFunc(c.Deaths, func(d api.DeathRecord) bool { return d.UID != *uid })
			c.Halts = slices.DeleteFunc(c.Halts, func(h rollout.Halt) bool { return h.UID != *uid })
		}
		all = append(all, c)
	}
	return all
}
