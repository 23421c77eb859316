// SPDX-License-Identifier: MIT

//go:build linux

package journal

import (
	"maps"
	"time"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

func newRollout(s rollout.Snapshot, now clock) *rolloutLine {
	return &rolloutLine{
		Number: s.Number, Started: now.moment(s.Started), Install: newInstall(s.Install), Users: s.Users, Open: s.Open,
		Foreign: s.Foreign, Abandoned: s.Abandoned,
	}
}

func (r rolloutLine) saved(now clock) rollout.Snapshot {
	return rollout.Snapshot{
		Number: r.Number, Started: now.time(r.Started), Install: r.Install.install(), Users: r.Users, Open: r.Open,
		Foreign: maps.Clone(r.Foreign), Abandoned: r.Abandoned,
	}
}

func newInstall(i selector.Install) install {
	to := install{Path: text(i.Path), Image: i.Image, State: i.State, Detail: text(i.Detail), Script: i.Script}
	to.Size, to.Modified, to.Born, to.Changed = i.Size, fileTime(i.Modified), fileTime(i.Born), fileTime(i.Changed)
	for _, path := range i.Interpreters {
		to.Interpreters = append(to.Interpreters, text(path))
	}
	return to
}

func (i install) install() selector.Install {
	to := selector.Install{
		Path: string(i.Path), Image: i.Image, State: i.State, Detail: string(i.Detail),
		Script: i.Script,
	}
	to.Size, to.Modified, to.Born, to.Changed = i.Size, timeOf(i.Modified), timeOf(i.Born), timeOf(i.Changed)
	for _, path := range i.Interpreters {
		to.Interpreters = append(to.Interpreters, string(path))
	}
	return to
}

// fileTime returns nil for the zero time. timeOf is its inverse.
func fileTime(t time.Time) *[2]int64 {
	if t.IsZero() {
		return nil
	}
	return &[2]int64{t.Unix(), int64(t.Nanosecond())}
}

func timeOf(at *[2]int64) time.Time {
	if at == nil {
		return time.Time{}
	}
	return time.Unix(at[0], at[1])
}

func newServer(s rollout.Member, now clock) *serverLine {
	return &serverLine{
		PID: s.PID, StartTime: s.StartTime, UID: s.UID, Rollout: s.Rollout, State: s.State, Since: now.moment(s.Since),
		Verdict: s.Verdict, Detail: text(s.Detail), Attempts: s.Attempts, SignalledAt: now.moment(s.SignalledAt),
		ArmedAt: now.moment(s.ArmedAt), ByOther: s.ByOther, Sender: s.Sender, Canary: s.Canary,
		Group: s.Group, Ran: s.Ran, Carried: s.Carried, WorkDir: text(s.WorkDir),
	}
}

func (s serverLine) saved(now clock) rollout.Member {
	return rollout.Member{
		PID: s.PID, StartTime: s.StartTime, UID: s.UID, Rollout: s.Rollout, State: s.State, Since: now.time(s.Since),
		Verdict: s.Verdict, Detail: string(s.Detail), Attempts: s.Attempts, SignalledAt: now.time(s.SignalledAt),
		ArmedAt: now.time(s.ArmedAt), ByOther: s.ByOther, Sender: s.Sender, Canary: s.Canary,
		Group: s.Group, Ran: s.Ran, Carried: s.Carried, WorkDir: string(s.WorkDir),
	}
}
