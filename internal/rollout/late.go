// SPDX-License-Identifier: MIT

package rollout

import (
	"fmt"
	"slices"
	"syscall"
	"time"

	"ebpf-upgrader/selector"
)

// codePanic is the exit code of a Rust program after a panic.
const codePanic = 101

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
