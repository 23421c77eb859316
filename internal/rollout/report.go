// SPDX-License-Identifier: MIT

package rollout

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"ebpf-upgrader/selector"
)

// Phase is the state of a rollout as a whole.
type Phase string

// The phases. Their words are the same in logs, metrics, JSON and tables.
const (
	// PhaseIdle: no install is ready, so there is no rollout.
	PhaseIdle Phase = "idle"
	// PhaseCanary: no group is open yet, only canaries are signalled.
	PhaseCanary Phase = "canary"
	// PhaseRolling: some group is open, its other members follow.
	PhaseRolling Phase = "rolling"
	// PhasePaused: an operator paused the servers of all members that are left; they are not signalled.
	PhasePaused Phase = "paused"
	// PhaseHalted: servers died, or do not arm themselves. All members that are left belong to halted users or groups,
	// which wait for another binary or for an operator.
	PhaseHalted Phase = "halted"
	// PhaseAbandoned: an operator ended the rollout for good, for all users or for those of all members that are left.
	PhaseAbandoned Phase = "abandoned"
	// PhaseFailed: no member is left to be signalled or awaited, and servers died.
	PhaseFailed Phase = "failed"
	// PhaseComplete: no member is left to be signalled or awaited, and no server died.
	PhaseComplete Phase = "complete"
)

// Phases lists every phase.
func Phases() []Phase {
	return []Phase{PhaseIdle, PhaseCanary, PhaseRolling, PhasePaused, PhaseHalted, PhaseAbandoned, PhaseFailed, PhaseComplete}
}

// IsOver reports whether a rollout in that phase signals no further server by itself.
func (p Phase) IsOver() bool {
	return p == PhaseHalted || p == PhaseAbandoned || p == PhaseFailed || p == PhaseComplete
}

// Report is the progress of a rollout. Its JSON form is a stable interface.
type Report struct {
	// Number counts the rollouts of this service; 0: there is none.
	Number  uint64           `json:"number"`
	Install selector.Install `json:"install"`
	Started time.Time        `json:"started"`
	// LastOutcome is when a server became upgraded, crashed or gave up last; zero: none did since this process started.
	LastOutcome time.Time `json:"last_outcome,omitzero"`
	// From is what the first server ran that was found outdated.
	From  selector.Binary `json:"from,omitzero"`
	Phase Phase           `json:"phase"`
	// Servers counts the servers by state, ended ones included. A server that upgraded still counts as upgraded when
	// its session has ended.
	Servers map[State]int `json:"servers"`
	// Deaths counts the deaths that this file may have caused.
	Deaths int `json:"deaths"`
	// Late counts the upgraded servers that crashed later. They are not in Servers and Deaths.
	Late int `json:"late,omitzero"`
	// LateCrashes describes the latest of them, 8 at most and 4 of each user, the last one at the end.
	LateCrashes []LateCrash `json:"late_crashes,omitempty"`
	// Halts are the users and groups that are halted, with the reasons.
	Halts []Halt `json:"halts"`
	// IsHaltedForAll says that the canaries of so many users failed that no other user's servers are signalled either.
	IsHaltedForAll bool `json:"halted_for_all,omitzero"`
	// Abandoned says for which users an operator ended the rollout for good.
	Abandoned []Abandonment `json:"abandoned,omitempty"`
	// Foreign counts the deaths after signals of other senders.
	Foreign []ForeignDeaths `json:"foreign"`
	// Waits counts the servers that may be signalled and wait because they are busy.
	Waits Waits `json:"waits,omitzero"`
	// Unarmed is the canary that has waited longest to be armed since its exec, as long as only canaries are signalled; nil:
	// none waits.
	Unarmed *Unarmed `json:"unarmed,omitempty"`
	// Superseded says that another file has been installed since.
	Superseded bool `json:"superseded"`
	// YieldsUntil is when the last of the pending servers is not left to a service of the host any more, which this one cannot
	// see from its PID namespace; it may be over. Zero: none is.
	YieldsUntil time.Time `json:"yields_until,omitzero"`
	// ByUser has the part of each user.
	ByUser map[uint32]UserReport `json:"-"`
}

// Halt is one reason why servers are not signalled.
type Halt struct {
	// UID is the user of the servers.
	UID uint32 `json:"uid"`
	// Path is that of the install.
	Path   string    `json:"install_path"`
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
	// Deaths describes the latest deaths of the user's servers, the last one at the end.
	Deaths []ServerDeath `json:"deaths,omitempty"`
	// Behind counts the servers of the user that run another image than the installed one.
	Behind int `json:"behind"`
	// IsLate says that crashes of upgraded servers led to it.
	IsLate bool `json:"late,omitzero"`
	// Next is the server that goes first, alone, after a resume, as far as is known now; 0: none is outdated.
	Next selector.PID `json:"next,omitzero"`
}

// ForeignDeaths counts the servers that died after signals of one other sender.
type ForeignDeaths struct {
	// Sender is the PID of the sender; 0: unknown.
	Sender selector.PID `json:"sender"`
	Deaths int          `json:"deaths"`
}

// String returns a sentence with the number and the sender.
func (f ForeignDeaths) String() string {
	return fmt.Sprintf("%d died after signals of %s", f.Deaths, describeSender(f.Sender))
}

// describeSender puts another sender into words; 0: unknown.
func describeSender(sender selector.PID) string {
	from := "another sender"
	if sender != 0 {
		from = fmt.Sprintf("process %d", sender)
	}
	return from + ", the servers' own trigger as a rule"
}

// Total returns how many servers the rollout has or had.
func (r Report) Total() int {
	n := 0
	for _, count := range r.Servers {
		n += count
	}
	return n
}

// Settled returns how many of them have reached their final state.
func (r Report) Settled() int {
	return r.Total() - r.Servers[Pending] - r.Servers[Signalled] - r.Servers[Settling] - r.Servers[TimedOut]
}

// Behind returns how many of them still run another image than the installed one.
func (r Report) Behind() int {
	return r.Servers[Pending] + r.Servers[Signalled] + r.Servers[TimedOut] + r.Servers[GaveUp] + r.Servers[Skipped]
}

// Report returns the progress. isPaused says that an operator paused the servers of all users.
func (r *Rollout) Report(isPaused bool) Report {
	counts := make(map[State]int)
	for state, n := range r.counts {
		if n > 0 {
			counts[State(state)] = n
		}
	}
	report := Report{
		Number: r.number, Install: r.install, Started: r.started, LastOutcome: r.lastOutcome, From: r.from, Phase: r.phase(isPaused),
		Servers: counts, Deaths: r.deaths(), Late: r.late(), LateCrashes: r.lateCrashes(), Halts: r.halts(), Foreign: r.foreignDeaths(), Waits: r.waits(), ByUser: r.byUser(), YieldsUntil: r.yieldsUntil(),
		IsHaltedForAll: r.isHaltedForAll(), Abandoned: r.abandonments(),
	}
	if report.Phase == PhaseCanary { // later the search would cost too much
		report.Unarmed = r.unarmed(r.cfg.Limits.ArmTimeout)
	}
	return report
}

func (r *Rollout) phase(isPaused bool) Phase {
	switch {
	case r.isAbandoned():
		return PhaseAbandoned
	case r.isHalted():
		return PhaseHalted
	case isPaused && !r.isComplete() || r.areLeftPaused():
		return PhasePaused
	case r.isComplete() && r.deaths() > 0:
		return PhaseFailed
	case r.isComplete():
		return PhaseComplete
	case r.hasOpenGroup():
		return PhaseRolling
	}
	return PhaseCanary
}

func (l *ledger) deaths() int {
	n := l.unhandled
	for _, u := range l.users {
		n += u.allDeaths()
	}
	return n
}

// isHalted reports whether a user or group is halted, and no other has a member left to be signalled or awaited.
func (l *ledger) isHalted() bool {
	isForAll := l.isHaltedForAll()
	for _, g := range l.groups {
		u := l.users[g.key.User]
		isHalted := g.overdue > 0 || u.IsHalted || isForAll && !u.IsAlone
		if !isHalted && !l.isAbandonedFor(u) && g.counts.active() > 0 {
			return false
		}
	}
	return isForAll || l.hasHalted()
}

// areLeftPaused reports whether members are left to be signalled or awaited, and all of them belong to users that an operator
// paused, or abandoned the rollout for.
func (l *ledger) areLeftPaused() bool {
	isPaused := false
	for _, g := range l.groups {
		switch u := l.users[g.key.User]; {
		case g.counts.active() == 0 || u.Abandoned != nil:
		case !l.cfg.IsPaused(u.UID):
			return false
		default:
			isPaused = true
		}
	}
	return isPaused
}

func (l *ledger) hasOpenGroup() bool {
	for _, g := range l.groups {
		if g.isOpen {
			return true
		}
	}
	return l.cfg.Limits.Canary == 0
}

// isComplete reports whether no member is left to be signalled or awaited, and no candidate to be inspected.
func (r *Rollout) isComplete() bool {
	return r.counts.active() == 0 && r.IsResynced && !r.HasDeferred && r.armingCount == 0
}

// halts returns the reasons of all halts, ascending by user.
func (l *ledger) halts() []Halt {
	all := []Halt{}
	for _, u := range l.users {
		switch {
		case l.isAbandonedFor(u):
		case u.IsHalted:
			all = append(all, l.halt(u, u.HaltReason, u.HaltedAt))
		default:
			for _, g := range u.groups {
				for _, reason := range g.overdueReasons(l.cfg.Limits.ArmTimeout) {
					all = append(all, l.halt(u, reason, g.overdueSince(l.cfg.Limits.ArmTimeout)))
				}
			}
		}
	}
	slices.SortFunc(all, func(a, b Halt) int {
		return cmp.Or(cmp.Compare(a.UID, b.UID), cmp.Compare(a.Reason, b.Reason), a.Since.Compare(b.Since))
	})
	return slices.CompactFunc(all, func(a, b Halt) bool { return a.UID == b.UID && a.Reason == b.Reason && a.Since.Equal(b.Since) })
}

// halt describes a halt of a user.
func (l *ledger) halt(u *user, reason string, since time.Time) Halt {
	h := Halt{UID: u.UID, Path: l.install.Path, Reason: reason, Since: since, Deaths: u.LatestDeaths, IsLate: l.isLateFor(u), Next: l.nextAfterResume(u)}
	for _, g := range u.groups {
		h.Behind += g.counts.behind()
	}
	return h
}

func (l *ledger) foreignDeaths() []ForeignDeaths {
	all := []ForeignDeaths{}
	for _, sender := range slices.Sorted(maps.Keys(l.foreign)) {
		all = append(all, ForeignDeaths{sender, l.foreign[sender]})
	}
	return all
}
