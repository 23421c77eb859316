// SPDX-License-Identifier: MIT

//go:build linux

package state

import (
	"time"

	"ebpf-upgrader/selector"
	"ebpf-upgrader/upgrade"
)

func newRollout(s upgrade.SavedRollout, now clock) *rollout {
	return &rollout{
		Number: s.Number, Proven: s.Proven, Halted: s.Halted, Deaths: s.Deaths, Barred: s.Barred,
		Started: now.moment(s.Started), Install: newInstall(s.Install),
	}
}

func (r rollout) saved(now clock) upgrade.SavedRollout {
	return upgrade.SavedRollout{
		Number: r.Number, Proven: r.Proven, Halted: r.Halted, Deaths: r.Deaths, Barred: r.Barred,
		Started: now.time(r.Started), Install: r.Install.install(),
	}
}

func newInstall(i selector.Install) install {
	to := install{Path: text(i.Path), Image: i.Image, State: text(i.State), Detail: text(i.Detail)}
	if !i.Modified.IsZero() {
		to.Modified = &[2]int64{i.Modified.Unix(), int64(i.Modified.Nanosecond())}
	}
	for _, path := range i.Interpreters {
		to.Interpreters = append(to.Interpreters, text(path))
	}
	return to
}

func (i install) install() selector.Install {
	to := selector.Install{
		Path: string(i.Path), Image: i.Image, State: selector.State(i.State), Detail: string(i.Detail),
	}
	if i.Modified != nil {
		to.Modified = time.Unix(i.Modified[0], i.Modified[1])
	}
	for _, path := range i.Interpreters {
		to.Interpreters = append(to.Interpreters, string(path))
	}
	return to
}

func newServer(s upgrade.SavedServer, now clock) *server {
	return &server{
		PID: s.PID, StartTime: s.StartTime, UID: s.UID, Rollout: s.Rollout, State: s.State, Since: now.moment(s.Since),
		Verdict: s.Verdict, Detail: text(s.Detail), Attempts: s.Attempts, AskedAt: now.moment(s.AskedAt),
		ByOther: s.ByOther, Ran: s.Ran, Carried: s.Carried,
	}
}

func (s server) saved(now clock) upgrade.SavedServer {
	return upgrade.SavedServer{
		Member: upgrade.Member{
			PID: s.PID, StartTime: s.StartTime, UID: s.UID, Rollout: s.Rollout, State: s.State, Since: now.time(s.Since),
			Verdict: s.Verdict, Detail: string(s.Detail), Attempts: s.Attempts, AskedAt: now.time(s.AskedAt),
			ByOther: s.ByOther,
		},
		Ran: s.Ran, Carried: s.Carried,
	}
}
