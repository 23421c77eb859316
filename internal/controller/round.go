// SPDX-License-Identifier: MIT

package controller

import (
	"context"
	"time"

	"ebpf-upgrader/selector"
)

// pauses are the times between looks of a single round at those whose facts could not be read: a file
// system was slow for a moment, or there were no descriptors. The last ones are for those only of which it is known
// that they did not answer in time, as on a machine that has no time for anybody.
func pauses() []time.Duration {
	all := make([]time.Duration, 7)
	for i := range all {
		all[i] = 20 * time.Millisecond << i
	}
	return all
}

// patience is how many pauses are made for who cannot be read for another reason.
const patience = 5

// pause reports whether the time has passed before ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// Survey judges every candidate against its install and plans, but sends nothing. Those whose facts cannot be
// read are looked at again, for some seconds at most.
func (u *Upgrader) Survey(ctx context.Context, with installs, candidates []selector.PID) Report {
	report := u.report(with, u.patientLook(ctx, with, candidates))
	due := []selector.PID{}
	for _, s := range report.Servers {
		if s.Verdict == selector.Outdated {
			due = append(due, s.PID)
		}
	}
	report.Plan = selector.Plan(u.cfg.Self, due)
	return report
}

// patientLook is lookAtAll, and looks again at those whose facts could not be read, or for whom there was no time.
func (u *Upgrader) patientLook(ctx context.Context, with installs, candidates []selector.PID) []view {
	views := withLeft(u.lookAtAll(ctx, with, candidates))
	for try, d := range pauses() {
		at := make(map[selector.PID]int)
		var unread []selector.PID
		for i, v := range views {
			if v.decision.Verdict == selector.UnreadableFacts && (try < patience || v.process.Unreadable.IsTemporary) {
				at[v.process.PID] = i
				unread = append(unread, v.process.PID)
			}
		}
		if len(unread) == 0 || !pause(ctx, d) {
			break
		}
		again, _ := u.lookAtAll(ctx, with, unread)
		for _, v := range again {
			views[at[v.process.PID]] = v
		}
	}
	return views
}

// report is what was seen, without a plan.
func (u *Upgrader) report(with installs, views []view) Report {
	report := Report{
		SchemaVersion: SchemaVersion,
		Source:        u.cfg.Source,
		Installs:      with.All(),
		Self:          u.cfg.Self,
		Servers:       make([]Server, len(views)),
		Plan:          []selector.PID{},
		Sent:          []selector.PID{},
		Failed:        []Failure{},
	}
	for i, v := range views {
		report.Servers[i] = newServer(v.process, v.decision)
	}
	return report
}

// Round judges every candidate against its install, and signals those that are outdated. It does not wait
// for what the servers make of it, and remembers nobody. When ctx ends, the delivery at hand is
// finished and the report says how far the round came.
func (u *Upgrader) Round(ctx context.Context, with installs, candidates []selector.PID) Report {
	report := u.Survey(ctx, with, candidates)
	others, self := []selector.Identity{}, []selector.Identity{}
	for _, pid := range report.Plan {
		if id := report.server(pid).identity(); pid == u.cfg.Self {
			self = append(self, id)
		} else {
			others = append(others, id)
		}
	}
	u.deliverAll(ctx, &report, with, others)
	u.deliverAll(ctx, &report, with, self)
	return report
}

// deliverAll delivers to all, and then again to those whose facts could not be read when their turn had come.
func (u *Upgrader) deliverAll(ctx context.Context, report *Report, with installs, due []selector.Identity) {
	due = u.deliverOnce(ctx, report, with, due)
	for _, d := range pauses() {
		if len(due) == 0 || !pause(ctx, d) {
			return
		}
		due = u.deliverOnce(ctx, report, with, due)
	}
}

// deliverOnce answers with those whose facts could not be read.
func (u *Upgrader) deliverOnce(ctx context.Context, report *Report, with installs, due []selector.Identity) (unread []selector.Identity) {
	for _, id := range due {
		if ctx.Err() != nil {
			break
		}
		d := u.deliver(id, with)
		d.release()
		*report.server(id.PID) = newServer(d.process, d.decision)
		switch {
		case d.err != nil:
			report.Failed = append(report.Failed, Failure{PID: id.PID, Error: d.err.Error()})
		case d.sent:
			report.Sent = append(report.Sent, id.PID)
		case d.decision.Verdict == selector.UnreadableFacts:
			unread = append(unread, id)
		}
	}
	return unread
}
