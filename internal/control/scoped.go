// SPDX-License-Identifier: MIT

//go:build linux

package control

import (
	"maps"
	"slices"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// What a peer may read that may read about one user only. Each answer is built from what is named here: a field that is
// added to the answer for all is left out of this one.

// serversOf are the servers of a user.
func serversOf(all []api.ServerStatus, uid uint32) []api.ServerStatus {
	own := []api.ServerStatus{}
	for i := range all {
		if all[i].UID == uid {
			own = append(own, all[i])
		}
	}
	return own
}

// statusOf is a status without what concerns other users. own are the servers of the user.
func statusOf(all Status, own []api.ServerStatus, uid uint32) Status {
	installs := installsOf(all.Status, own, uid)
	return Status{
		SchemaVersion: all.SchemaVersion, Info: all.Info,
		Status: api.Status{
			Source: all.Source, Learned: all.Learned, Installs: installs, Paused: all.Paused, PausedSince: all.PausedSince,
			PausedBy: all.PausedBy, PauseReason: all.PauseReason,
			PausedUsers:  slices.DeleteFunc(slices.Clone(all.PausedUsers), func(p api.PausedUser) bool { return p.User != uid }),
			JournalError: all.JournalError, Verdicts: api.CountVerdicts(own), Rollouts: rolloutsOf(all.Rollouts, installs, own, uid),
		},
		Gate: gateOf(all.Gate, own), StandsBy: all.StandsBy, Staged: stagedFor(all.Staged), Events: all.Events,
	}
}

// installsOf are the installs that a user's servers name or, where the operator named them, all of them.
func installsOf(all api.Status, own []api.ServerStatus, uid uint32) []api.InstallStatus {
	installs := []api.InstallStatus{}
	for _, i := range all.Installs {
		switch {
		case !all.Learned:
			i.Container, i.Servers, i.Deaths = "", len(own), 0
		case i.UID != uid:
			continue
		}
		installs = append(installs, i)
	}
	return installs
}

// rolloutsOf are the rollouts with servers of a user.
func rolloutsOf(all []rollout.Report, installs []api.InstallStatus, own []api.ServerStatus, uid uint32) []rollout.Report {
	reports := []rollout.Report{}
	for i := range all {
		r := &all[i]
		at := slices.IndexFunc(installs, func(i api.InstallStatus) bool { return i.Rollout == r.Number })
		part, isPart := r.ByUser[uid]
		if at < 0 && !isPart {
			continue
		}
		halts := slices.DeleteFunc(slices.Clone(r.Halts), func(h rollout.Halt) bool { return h.UID != uid })
		abandoned := slices.DeleteFunc(slices.Clone(r.Abandoned), func(a rollout.Abandonment) bool { return a.User != nil && *a.User != uid })
		report := rollout.Report{
			Number: r.Number, Started: r.Started, Phase: phaseOf(r, part, halts, abandoned), Servers: maps.Clone(part.Servers), Deaths: part.Deaths,
			Late: part.Late, LateCrashes: part.LateCrashes,
			Halts: halts, IsHaltedForAll: r.IsHaltedForAll, Abandoned: abandoned,
			Waits: waitsOf(own, r.Number), YieldsUntil: r.YieldsUntil, Superseded: r.Superseded, Foreign: []rollout.ForeignDeaths{},
		}
		if u := r.Unarmed; u != nil && slices.ContainsFunc(own, func(s api.ServerStatus) bool { return s.PID == u.PID }) {
			report.Unarmed = u
		}
		if report.Servers == nil {
			report.Servers = make(map[rollout.State]int)
		}
		switch isOnly := isPart && len(r.ByUser) == 1; {
		case isOnly:
			report.Install, report.From, report.LastOutcome, report.Foreign = r.Install, r.From, r.LastOutcome, r.Foreign
		case at >= 0: // another user's path may lead to the file
			report.Install = installs[at].Install
		}
		for i := range report.Halts {
			report.Halts[i].Path = report.Install.Path
		}
		reports = append(reports, report)
	}
	return reports
}

// phaseOf is the phase of a rollout as its part of one user tells.
func phaseOf(r *rollout.Report, part rollout.UserReport, halts []rollout.Halt, abandoned []rollout.Abandonment) rollout.Phase {
	n := part.Servers
	isActive := n[rollout.Pending]+n[rollout.Signalled]+n[rollout.Settling]+n[rollout.TimedOut] > 0
	switch {
	case r.Phase == rollout.PhaseIdle:
		return rollout.PhaseIdle
	case len(abandoned) > 0:
		return rollout.PhaseAbandoned
	case !isActive && part.Deaths > 0:
		return rollout.PhaseFailed
	case !isActive && len(n) > 0:
		return rollout.PhaseComplete
	case len(halts) > 0:
		return rollout.PhaseHalted
	}
	return r.Phase
}

// reportOf is a round without the servers of other users.
func reportOf(all api.Report, uid uint32) api.Report {
	own := all.Only(func(s api.Server) bool { return s.UID == uid })
	own.Installs = slices.DeleteFunc(slices.Clone(all.Installs), func(i selector.Install) bool {
		return !slices.ContainsFunc(own.Servers, func(s api.Server) bool { return s.UpgradeBin == i.Path })
	})
	return own
}

// waitsOf counts the servers that wait for a quiet moment in a rollout.
func waitsOf(own []api.ServerStatus, number uint64) (w rollout.Waits) {
	for i := range own {
		m := own[i].Rollout
		if m == nil || m.Rollout != number || m.BusySince.IsZero() {
			continue
		}
		w.Servers++
		if w.Since.IsZero() || m.BusySince.Before(w.Since) {
			w.Since = m.BusySince
		}
	}
	return w
}

// gateOf counts the refusals among a user's servers.
func gateOf(all api.Gate, own []api.ServerStatus) api.Gate {
	isOwn := make(map[selector.PID]bool, len(own))
	for i := range own {
		isOwn[own[i].PID] = true
	}
	g := api.Gate{Active: all.Active, Way: all.Way, Reason: all.Reason, Latest: []api.Refusal{}}
	for _, r := range all.Latest {
		if isOwn[r.Sender] && isOwn[r.Target] {
			g.Latest = append(g.Latest, r)
			g.Refused += r.Count
		}
	}
	return g
}

// paths names installs for one user: another user's path may lead to the file of a rollout. The zero paths change nothing.
type paths struct {
	isScoped bool
	own      map[string]bool
	rollouts map[uint64]string
}

// pathsOf are those that a user's servers name.
func pathsOf(own []api.ServerStatus) paths {
	p := paths{isScoped: true, own: make(map[string]bool), rollouts: make(map[uint64]string)}
	for i := range own {
		p.own[own[i].UpgradeBin] = true
		if m := own[i].Rollout; m != nil {
			p.rollouts[m.Rollout] = own[i].UpgradeBin
		}
	}
	return p
}

// name is the path by which the user knows the file of a rollout; empty: that is not known.
func (p paths) name(path string, number uint64) string {
	if !p.isScoped || p.own[path] {
		return path
	}
	return p.rollouts[number]
}
