// SPDX-License-Identifier: MIT

package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"syscall"
	"time"

	"ebpf-upgrader/selector"
)

// codePanic is the exit code of a Rust program after a panic.
const codePanic = 101

// maxLateCrashes is how many late crashes a report describes.
const maxLateCrashes = 8

// LateCrash describes the crash of an upgraded server. UpgradedAt and At tell how long it had been upgraded.
type LateCrash struct {
	// UID is the user of the server.
	UID uint32 `json:"uid"`
	ServerDeath
}

// isCrash reports whether an exit is one that a program does not choose: a fault, a failed exec, or a panic.
func isCrash(e selector.Exit) bool {
	if code, hasExited := e.Code(); hasExited {
		return code == CodeExecFailed || code == codePanic
	}
	number, _ := e.Signal()
	return slices.Contains([]syscall.Signal{
		syscall.SIGSEGV, syscall.SIGABRT, syscall.SIGBUS, syscall.SIGILL, syscall.SIGFPE, syscall.SIGSYS,
	}, syscall.Signal(number))
}

// isLate reports whether the end of a member is a late crash. An end that was not seen is none.
func (l *ledger) isLate(m *Member, now time.Time) bool {
	limits := l.cfg.Limits
	return limits.MaxLate > 0 && m.State == Upgraded && m.exit.Known && isCrash(m.exit) && now.Sub(m.Since) < limits.LateWithin
}

// crashedLate counts the late crash of a member. It only ever halts: no server is signalled because of it.
func (l *ledger) crashedLate(m *Member, now time.Time) {
	u := l.user(m.UID)
	m.Late, m.Detail = true, describeExit(m.exit, l.cfg.Signal)
	u.Late++
	u.describe(m, ServerDeath{At: now, UpgradedAt: m.Since})
	if l.isLateFor(u) && !u.IsHalted {
		u.IsHalted, u.IsAlone, u.HaltedAt = true, false, now
		u.HaltReason = fmt.Sprintf("upgraded server %d crashed: %s", m.PID, m.Detail)
	}
}

// isLateFor reports whether late crashes halted the rollout for a user.
func (l *ledger) isLateFor(u *user) bool {
	return l.cfg.Limits.MaxLate > 0 && u.Late >= l.cfg.Limits.MaxLate
}

// late counts the late crashes.
func (l *ledger) late() (n int) {
	for _, u := range l.users {
		n += u.Late
	}
	return n
}

// lateCrashes describes the latest late crashes, the last one at the end.
func (l *ledger) lateCrashes() (all []LateCrash) {
	for _, u := range l.users {
		all = append(all, u.lateCrashes()...)
	}
	slices.SortFunc(all, func(a, b LateCrash) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.PID, b.PID)) })
	return all[max(0, len(all)-maxLateCrashes):]
}

// lateCrashes are those of a user. The other deaths of the user were no upgraded servers.
func (u *user) lateCrashes() (all []LateCrash) {
	for _, d := range u.LatestDeaths {
		if !d.UpgradedAt.IsZero() {
			all = append(all, LateCrash{u.UID, d})
		}
	}
	return all
}
