// SPDX-License-Identifier: MIT

package rollout

import (
	"fmt"
	"syscall"
)

// Exit is how a process ended. The zero Exit is unknown.
type Exit struct {
	Known bool
	// Status is that of wait(2).
	Status syscall.WaitStatus
}

// codeExecFailed is what a server exits with whose exec failed.
const codeExecFailed = 70

func (e Exit) isExecFailure() bool {
	return e.Known && e.Status.Exited() && e.Status.ExitStatus() == codeExecFailed
}

// IsUnhandled reports whether the server died of the signal itself.
func (e Exit) IsUnhandled(signal syscall.Signal) bool {
	return e.Known && e.Status.Signaled() && e.Status.Signal() == signal
}

// IsClean reports whether a session could have ended like that.
func (e Exit) IsClean() bool { return e.Known && e.Status.Exited() && e.Status.ExitStatus() == 0 }

// stepOf says what an exit means for a server. One that was not signalled has exited. An exit of any status between the
// exec and the moment when the server is armed again is a death: a binary that cannot speak the session's protocol exits
// with 0. Until the hold time is over, every other status than 0 is one, and so is an exit that was not seen. Later only
// those are that nothing else explains.
func (r *Rollout) stepOf(m *Member, e Exit) Step {
	switch {
	case !m.State.Kept() || m.State == Upgraded:
		return Ended
	case e.isExecFailure(), e.IsUnhandled(r.cfg.Signal):
		return Died
	case m.State == Settling && m.ArmedAt.IsZero():
		return Died
	case m.State == Signalled && e.IsClean() && !r.cfg.SeesExec && !r.group(m.Group).isOpen:
		// Without the kernel's events an exec that exits at once looks like a session that ends.
		return Died
	case m.State != Signalled && m.State != Settling, e.IsClean():
		return Ended
	}
	return Died
}

// Describe puts an exit into words.
func (e Exit) Describe(signal syscall.Signal) string {
	switch {
	case !e.Known:
		return "ended unseen"
	case e.isExecFailure():
		return fmt.Sprintf("exit code %d: its exec failed", codeExecFailed)
	case e.IsUnhandled(signal):
		return "the signal to upgrade ended it: it had no handler"
	case e.Status.Signaled():
		return "signal: " + e.Status.Signal().String()
	}
	return fmt.Sprintf("exit code %d", e.Status.ExitStatus())
}
