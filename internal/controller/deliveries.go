// SPDX-License-Identifier: MIT

package controller

import (
	"context"
	"errors"
	"reflect"
	"sync/atomic"
	"time"

	"ebpf-upgrader/internal/budget"
	"ebpf-upgrader/internal/deliver"
	"ebpf-upgrader/internal/registry"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/internal/schedule"
	"ebpf-upgrader/selector"
)

// flight is a delivery that is under way.
type flight struct {
	m       *rollout.Member
	rollout *attached
	install *registry.Install

	// The rest of what a worker uses is not changed while the delivery is under way. file is what is to be still installed;
	// checkedAt is when that was found last, in ns since 1970.
	planned selector.Identity
	registry.Expected
	key       registry.Key
	file      selector.Install
	checkedAt *atomic.Int64
	// unproven are the canaries that the member goes in place of: one may have died, and its event be lost.
	unproven []selector.Identity

	// events are those of the server meanwhile.
	events []selector.Event
	// isParked says that the server was read meanwhile, which counts for nothing.
	isParked bool
	// isWithdrawn says that the server is not to be signalled any more, unless that has happened.
	isWithdrawn atomic.Bool
}

// installFlights are the deliveries under way for one install.
type installFlights struct {
	count int
	// update is the latest of the install meanwhile.
	update *InstallUpdate
}

// Of is what the server is compared with, unless the delivery was withdrawn meanwhile.
func (f *flight) Of(p selector.Process) selector.Install {
	if f.isWithdrawn.Load() {
		return selector.Install{State: selector.StateUnready}
	}
	return f.Expected.Of(p)
}

// deliveries are those that are under way: one at a time for a user.
type deliveries struct {
	*parts
	// checks inspects files and senders deliver. Files of a user that are slow hold up the user's deliveries only.
	checks, senders *budget.Queue
	flights         map[selector.PID]*flight
	// at has those of an install.
	at    map[*registry.Install]*installFlights
	turns turns
	// walks paces the searches for a member that may be signalled.
	walks schedule.Throttle
}

func (d *deliveries) isUnderWay(pid selector.PID) bool { return d.flights[pid] != nil }

// park notes that a server was read while its delivery is under way: it is read again afterwards.
func (d *deliveries) park(pid selector.PID) { d.flights[pid].isParked = true }

// keep keeps an event of a server until its delivery has ended. It reports false if none is under way.
func (d *deliveries) keep(e selector.Event) bool {
	f := d.flights[e.PID]
	if f == nil {
		return false
	}
	f.events = append(f.events, e)
	return true
}

// keepUpdate does so for an install.
func (d *deliveries) keepUpdate(i *registry.Install, u InstallUpdate) bool {
	all := d.at[i]
	switch {
	case all == nil:
		return false
	case all.update == nil && reflect.DeepEqual(i.File, u.File):
		return true
	}
	all.update = &u
	i.IsHeld = true // else there might always be a delivery under way
	for _, f := range d.flights {
		if f.install == i {
			f.isWithdrawn.Store(true)
		}
	}
	return true
}

// begin notes that a delivery is under way.
func (d *deliveries) begin(f *flight) {
	d.flights[f.m.PID] = f
	all := d.at[f.install]
	if all == nil {
		all = &installFlights{}
		d.at[f.install] = all
	}
	all.count++
	f.rollout.Sending(f.m)
}

// end notes that a delivery has ended. If it was the last for its install, it returns the update that has waited.
func (d *deliveries) end(f *flight) *InstallUpdate {
	f.rollout.EndSending(f.m)
	delete(d.flights, f.m.PID)
	all := d.at[f.install]
	if all.count--; all.count > 0 {
		return nil
	}
	delete(d.at, f.install)
	return all.update
}

func (d *deliveries) close() {
	d.checks.Close()
	d.senders.Close()
}

// checkEvery bounds how old the check may be that the file is still ready. A wave of deliveries thus costs a few checks
// instead of one each.
const checkEvery = 10 * time.Millisecond

// launch gives a delivery to a worker. The intent is written first. It reports false if that was not possible.
func (d *deliveries) launch(m *rollout.Member) bool {
	now, p, r := time.Now(), d.registry.Process(m.PID), d.rollouts.of(m.PID)
	d.turns.take(m)
	if err := d.rollouts.persist.intent(m, now); err != nil {
		d.cfg.Observer.Refused(*m, err)
		return false
	}
	f := &flight{
		m: m, rollout: r, install: p.Install, planned: m.Identity(), Expected: d.registry.Expect(p.Install),
		key: p.Install.Key, file: p.Install.File, checkedAt: p.Install.CheckedAt,
	}
	d.begin(f)
	for _, pid := range r.UnprovenCanaries(m) {
		f.unproven = append(f.unproven, r.Member(pid).Identity())
	}
	d.senders.Submit(p.User, func() {
		done := f.run(&d.cfg)
		d.inbox.put(func(ctx context.Context) { d.delivered(ctx, f, done) })
	})
	return true
}

// outcome is what became of a delivery.
type outcome struct {
	deliver.Delivery
	// isUnready says that another file is installed, or none.
	isUnready bool
	// gone is a canary that is gone, and isReplaced says that another process has its PID; 0: none.
	gone       selector.PID
	isReplaced bool
}

// run is the work of a delivery, in a worker.
func (f *flight) run(cfg *Config) (o outcome) {
	if time.Now().UnixNano()-f.checkedAt.Load() >= int64(checkEvery) {
		found := cfg.Installs.Check(f.key)
		if found.State != f.file.State || found.Image != f.file.Image {
			return outcome{isUnready: true}
		}
		f.checkedAt.Store(time.Now().UnixNano())
	}
	for _, id := range f.unproven {
		found, _, err := cfg.Deliverer.Config().Inspector.User(id.PID)
		if isGone := errors.Is(err, selector.ErrGone); isGone || err == nil && found != id {
			o.gone, o.isReplaced = id.PID, !isGone
			return o
		}
	}
	o.Delivery = cfg.Deliverer.Deliver(f.planned, f)
	return o
}

// delivered takes the outcome of a delivery, and then what has happened meanwhile.
func (d *deliveries) delivered(ctx context.Context, f *flight, o outcome) {
	now, m, r := time.Now(), f.m, f.rollout
	update := d.end(f)
	d.rollouts.touch(r)
	switch {
	case o.isUnready:
		d.reconciler.recheck(f.install, now)
	case o.gone != 0:
		d.canaryGone(&o, now)
	case o.IsSent || !f.isWithdrawn.Load():
		d.applyDelivery(ctx, f, &o.Delivery, now)
	}
	if m.State == rollout.Pending && r.Member(m.PID) == m {
		_ = d.rollouts.persist.member(m) // the intent is void
	}
	if f.isParked {
		d.inspections.retry(m.PID)
	}
	for _, e := range f.events {
		d.reconciler.handle(ctx, e)
	}
	if update != nil {
		f.install.ReportedAt = time.Time{} // the file may be the same again
		d.reconciler.updated(ctx, *update)
	}
}

func (d *deliveries) applyDelivery(ctx context.Context, f *flight, got *deliver.Delivery, now time.Time) {
	defer got.Release()
	m, r := f.m, f.rollout
	switch {
	case got.Err != nil:
		r.Refused(m, got.Err, now)
		d.timers.Set(inspectTask(m.PID), d.retryAt(f.install, got.Err, now))
		d.cfg.Observer.Refused(*m, got.Err)
	case got.Process.StartTime != 0 && got.Process.Identity != m.Identity():
		d.reconciler.observe(got.Inspection, now) // the next owner of the PID, which was not sent anything
	case got.IsSent:
		r.Sent(m, got.Process.Image, got.Before, now)
		if d.exits.isNeeded {
			d.exits.watch(ctx, m.PID, got.Target)
			got.Target = nil
		}
	default:
		d.reconciler.observe(got.Inspection, now)
		if !got.ByOther.IsZero() && r.Member(m.PID) == m {
			r.SentByOther(m, 0, got.ByOther, now)
			d.cfg.Observer.Refused(*m, selector.ErrSignalledByOther)
		}
	}
	d.inspections.outdate(m.PID)
}

// retryAt is when a server is inspected again that was refused the signal.
func (d *deliveries) retryAt(i *registry.Install, err error, now time.Time) time.Time {
	if !errors.Is(err, deliver.ErrUntracked) {
		return now.Add(d.cfg.Limits.RetryAfter)
	}
	return now.Add(max(firstInspection, i.ReportedAt.Add(deliver.OthersAct).Sub(now)))
}

// canaryGone takes a canary that was found gone before another went in its place.
func (d *deliveries) canaryGone(o *outcome, now time.Time) {
	pid := o.gone
	if d.rollouts.member(pid) == nil || d.isUnderWay(pid) {
		return
	}
	if d.reconciler.vanished(pid, now) && o.isReplaced {
		d.registry.Process(pid).IsReplaced = true
	}
}
