// SPDX-License-Identifier: MIT

package rollout

import (
	"fmt"
	"syscall"

	"ebpf-upgrader/selector"
)

// CodeExecFailed is the exit code of a server after a failed exec.
const CodeExecFailed = 70

// Exit is how the server ended; unknown as long as it runs.
func (m *Member) Exit() selector.Exit { return m.exit }

func isExecFailure(e selector.Exit) bool {
	code, exited := e.Code()
	return exited && code == CodeExecFailed
}

// isUnhandled reports whether a server died of the signal itself, because it had no handler.
func isUnhandled(e selector.Exit, signal syscall.Signal) bool {
	number, signaled := e.Signal()
	return signaled && number == int(signal)
}

// stepOf is the step that an exit means for a server. A server that was not signalled has exited. An exit of any status
// between the exec and the moment when the server is armed again is a death: a binary that cannot speak the session's
// protocol exits with 0. Until the hold time is over, every status other than 0 is a death, and so is an unknown exit.
// Later, only a failed exec and the signal itself are.
func (l *ledger) stepOf(m *Member, e selector.Exit) Step {
	switch {
	case !m.State.IsPersistent() || m.State == Upgraded:
		return Ended
	case isExecFailure(e), isUnhandled(e, l.cfg.Signal):
		return Died
	case m.State == Settling && m.ArmedAt.IsZero():
		return Died
	case m.State == Signalled && e.IsClean() && !l.cfg.SeesExec && !l.group(m.Group).isOpen:
		// Without the kernel's events, an exec that exits at once looks like a session that ends.
		return Died
	case m.State != Signalled && m.State != Settling, e.IsClean():
		return Ended
	}
	return Died
}

// describeExit puts an exit into words. signal is the one that makes a server upgrade.
func describeExit(e selector.Exit, signal syscall.Signal) string {
	code, exited := e.Code()
	number, _ := e.Signal()
	switch {
	case !e.Known:
		return "ended unseen"
	case isExecFailure(e):
		return fmt.Sprintf("exit code %d: its exec failed", CodeExecFailed)
	case isUnhandled(e, signal):
		return "the signal to upgrade ended it: it had no handler"
	case !exited:
		return "signal: " + syscall.Signal(number).String()
	}
	return fmt.Sprintf("exit code %d", code)
}
