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
	r := &rolloutLine{
		Number: s.Number, Started: now.moment(s.Started), Install: newInstall(s.Install),
		Users: []userLine{}, Open: []groupLine{}, Foreign: map[selector.PID]int{},
	}
	maps.Copy(r.Foreign, s.Foreign)
	for _, u := range s.Users {
		r.Users = append(r.Users, userLine{u.UID, u.Deaths, u.IsHalted, text(u.HaltReason), u.IsProven, u.IsFailed})
	}
	for _, g := range s.Open {
		r.Open = append(r.Open, newGroup(g))
	}
	return r
}

func (r rolloutLine) saved(now clock) rollout.Snapshot {
	s := rollout.Snapshot{Number: r.Number, Started: now.time(r.Started), Install: r.Install.install(), Foreign: maps.Clone(r.Foreign)}
	for _, u := range r.Users {
		s.Users = append(s.Users, rollout.UserSnapshot{
			UID: u.UID, Deaths: u.Deaths, IsHalted: u.Halted, HaltReason: string(u.Why), IsProven: u.Proven, IsFailed: u.Failed,
		})
	}
	for _, g := range r.Open {
		s.Open = append(s.Open, g.group())
	}
	return s
}

func newGroup(g rollout.Group) groupLine { return groupLine{g.User, g.View, text(g.DataDir)} }

func (g groupLine) group() rollout.Group {
	return rollout.Group{User: g.User, View: g.View, DataDir: string(g.DataDir)}
}

func newInstall(i selector.Install) install {
	to := install{Path: text(i.Path), Image: i.Image, State: text(i.State), Detail: text(i.Detail), Script: i.Script}
	to.Size, to.Modified, to.Born, to.Changed = i.Size, fileTime(i.Modified), fileTime(i.Born), fileTime(i.Changed)
	for _, path := range i.Interpreters {
		to.Interpreters = append(to.Interpreters, text(path))
	}
	return to
}

func (i install) install() selector.Install {
	to := selector.Install{
		Path: string(i.Path), Image: i.Image, State: selector.State(i.State), Detail: string(i.Detail),
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
		Group: newGroup(s.Group), Ran: s.Ran, Carried: s.Carried,
	}
}

func (s serverLine) saved(now clock) rollout.Member {
	return rollout.Member{
		PID: s.PID, StartTime: s.StartTime, UID: s.UID, Rollout: s.Rollout, State: s.State, Since: now.time(s.Since),
		Verdict: s.Verdict, Detail: string(s.Detail), Attempts: s.Attempts, SignalledAt: now.time(s.SignalledAt),
		ArmedAt: now.time(s.ArmedAt), ByOther: s.ByOther, Sender: s.Sender, Canary: s.Canary,
		Group: s.Group.group(), Ran: s.Ran, Carried: s.Carried,
	}
}
