// SPDX-License-Identifier: MIT

package deliver

import (
	"context"
	"slices"
	"time"

	"ebpf-upgrader/selector"
)

// Round is what one pass over the candidates found and did, without a rollout.
type Round struct {
	// Inspected are ascending by PID. Each is the latest of the round: a server that ended between plan and delivery is
	// gone here and still in Plan.
	Inspected []Inspection
	// Plan is the order of delivery. Sent are those that the kernel delivered the signal to, Failed those that it did not.
	Plan, Sent []selector.PID
	Failed     []Failure
}

// Failure is a delivery that the kernel refused.
type Failure struct {
	PID selector.PID
	Err error
}

// of finds the inspection of pid, which must be there.
func (r *Round) of(pid selector.PID) *Inspection {
	i, _ := slices.BinarySearchFunc(r.Inspected, pid, func(i Inspection, pid selector.PID) int { return int(i.Process.PID) - int(pid) })
	return &r.Inspected[i]
}

// maxRetries is how many times a single round inspects a process again that cannot be read: a file system was slow for a moment,
// or there were no descriptors. maxTimeouts is that for reads that did not end in time, as on a busy machine.
const maxRetries, maxTimeouts = 5, 7

// pause waits before a retry. It reports whether the time has passed before ctx ended.
func pause(ctx context.Context, retry int) bool {
	timer := time.NewTimer(20 * time.Millisecond << retry)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// Survey judges every candidate against its install and plans, but sends nothing. Processes that cannot be read are
// inspected again, for some seconds at most.
func (d *Deliverer) Survey(ctx context.Context, with Resolver, candidates []selector.PID) Round {
	r := Round{Inspected: d.inspectPatiently(ctx, with, candidates)}
	due := []selector.PID{}
	for _, i := range r.Inspected {
		if i.Decision.Verdict == selector.Outdated {
			due = append(due, i.Process.PID)
		}
	}
	r.Plan = selector.Plan(d.cfg.Self, due)
	return r
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
		if len(unread) == 0 || !pause(ctx, retry) {
			break
		}
		for _, v := range d.inspectAll(ctx, with, unread) {
			if v.Decision.Detail != ReasonDeferred {
				all[at[v.Process.PID]] = v
			}
		}
	}
	return all
}

// Round judges every candidate against its install, and signals those that are outdated. It does not wait for
// their upgrades. When ctx ends, the delivery at hand is finished and the result says how far the round came.
func (d *Deliverer) Round(ctx context.Context, with Resolver, candidates []selector.PID) Round {
	r := d.Survey(ctx, with, candidates)
	var planned []selector.Identity
	for _, pid := range r.Plan {
		planned = append(planned, r.of(pid).Process.Identity)
	}
	others := len(planned)
	if others > 0 && planned[others-1].PID == d.cfg.Self { // also after servers that are slow to be read
		others--
	}
	d.deliverAll(ctx, &r, with, planned[:others])
	d.deliverAll(ctx, &r, with, planned[others:])
	return r
}

// deliverAll delivers to all, and then again to those that could not be read when they were due.
func (d *Deliverer) deliverAll(ctx context.Context, r *Round, with Resolver, due []selector.Identity) {
	due = d.deliverOnce(ctx, r, with, due)
	for retry := range maxTimeouts {
		if len(due) == 0 || !pause(ctx, retry) {
			return
		}
		due = d.deliverOnce(ctx, r, with, due)
	}
}

// deliverOnce returns those that could not be read.
func (d *Deliverer) deliverOnce(ctx context.Context, r *Round, with Resolver, due []selector.Identity) (unread []selector.Identity) {
	for _, id := range due {
		if ctx.Err() != nil {
			break
		}
		all := d.Deliver(id, with)
		all.Release()
		*r.of(id.PID) = all.Inspection
		switch {
		case all.Err != nil:
			r.Failed = append(r.Failed, Failure{PID: id.PID, Err: all.Err})
		case all.IsSent:
			r.Sent = append(r.Sent, id.PID)
		case all.Decision.Verdict == selector.UnreadableFacts:
			unread = append(unread, id)
		}
	}
	return unread
}
