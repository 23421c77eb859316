// SPDX-License-Identifier: MIT

package deliver

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ebpf-upgrader/internal/budget"
	"ebpf-upgrader/selector"
)

// Survey is what one pass over the candidates found, and would signal.
type Survey struct {
	// Inspected are ascending by PID.
	Inspected []Inspection
	// Plan is the order of delivery.
	Plan []selector.PID
}

// maxRetries is how many times a survey inspects a process again that cannot be read: a file system was slow for a moment,
// or there were no descriptors. maxTimeouts is that for reads that did not end in time, as on a busy machine.
const maxRetries, maxTimeouts = 5, 7

// Survey judges every candidate against its install and plans, but sends nothing. Processes that cannot be read are
// inspected again, for some seconds at most.
func (d *Deliverer) Survey(ctx context.Context, with Resolver, candidates []selector.PID) Survey {
	s := Survey{Inspected: d.inspectPatiently(ctx, with, candidates)}
	due := []selector.PID{}
	for _, i := range s.Inspected {
		if i.Decision.Verdict == selector.Outdated {
			due = append(due, i.Process.PID)
		}
	}
	s.Plan = selector.Plan(d.cfg.Self, due)
	return s
}

// inspectPatiently inspects all candidates, and then those again that could not be read or were deferred.
func (d *Deliverer) inspectPatiently(ctx context.Context, with Resolver, candidates []selector.PID) []Inspection {
	all := d.inspectAll(ctx, with, candidates)
	for retry := range maxTimeouts {
		at := make(map[selector.PID]int)
		var unread []selector.PID
		for i, v := range all {
			if v.Decision.Verdict == selector.UnreadableFacts && (retry < maxRetries || v.Process.Unreadable.IsTemporary) {
				at[v.Process.PID] = i
				unread = append(unread, v.Process.PID)
			}
		}
		if len(unread) == 0 {
			break
		}
		select {
		case <-ctx.Done():
			return all
		case <-time.After(20 * time.Millisecond << retry):
		}
		for _, v := range d.inspectAll(ctx, with, unread) {
			if v.Decision.Detail != ReasonDeferred {
				all[at[v.Process.PID]] = v
			}
		}
	}
	return all
}

// quota is how much time the slow processes of one user may take of one pass over all, on all cores together. An inspection
// that takes no longer than Free is within it: the number of processes of a user is bounded.
var quota = budget.Limit{Factor: 1 << 10, Burst: 500 * time.Millisecond, Free: 200 * time.Microsecond}

// ReasonDeferred is the detail of a process that was not inspected because its user had used up the quota.
const ReasonDeferred = "its user has too many that are slow to be read"

// deferred is what is known of such a process.
func deferred(id selector.Identity, user selector.User) Inspection {
	i := Inspection{Decision: selector.Decision{Verdict: selector.UnreadableFacts, Detail: ReasonDeferred, Stale: true}}
	i.Process.Identity, i.Process.Credentials.Owner = id, user
	i.Process.Unreadable = selector.Unreadable{Fact: selector.FactCmdline, Why: ReasonDeferred, IsTemporary: true}
	return i
}

// pass is one pass over many processes. It is safe for concurrent use.
type pass struct {
	d     *Deliverer
	with  Resolver
	meter *budget.Meter
	// hasOver says that the quota of a user is used up: from then on the owner of each process is read first.
	hasOver atomic.Bool
}

// inspectAll inspects processes, ascending and each once, on all cores: nearly all of the time is spent in the kernel, and
// not on locks. When ctx ends, it returns those that it came to.
func (d *Deliverer) inspectAll(ctx context.Context, with Resolver, pids []selector.PID) []Inspection {
	pids = selector.Plan(0, pids)
	all := make([]Inspection, len(pids))
	p := &pass{d: d, with: with, meter: budget.NewMeter(quota)}
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(pids)) {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(pids)) && ctx.Err() == nil; i = next.Add(1) - 1 {
				all[i] = p.inspect(pids[i])
			}
		})
	}
	workers.Wait()
	return slices.DeleteFunc(all, func(i Inspection) bool { return i.Decision.Verdict == selector.Undecided })
}

// inspect inspects a process unless the quota of its user is used up.
func (p *pass) inspect(pid selector.PID) Inspection {
	user := noUser
	if p.hasOver.Load() {
		if id, owner, err := p.d.cfg.Inspector.User(pid); err == nil {
			if p.isOver(owner) {
				return deferred(id, owner)
			}
			user = owner
		}
	}
	i := p.d.Inspect(pid, p.with)
	if i.Process.StartTime != 0 && i.Decision.Verdict != selector.Gone {
		user = i.Process.Credentials.Owner
	}
	p.meter.Charge(user, i.Took, time.Now())
	if p.isOver(user) {
		p.hasOver.Store(true)
	}
	return i
}

// noUser is charged for processes with an unknown owner. No user has that number.
var noUser = selector.User{UID: 1<<32 - 1}

func (p *pass) isOver(user selector.User) bool { return p.meter.Credit(user, time.Now()) < 0 }
