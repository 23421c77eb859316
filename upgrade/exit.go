// SPDX-License-Identifier: MIT

package upgrade

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

// execFailed reports whether the server could not exec what it was asked to, and unhandled whether
// it died of the signal itself.
func (e Exit) execFailed() bool {
	return e.Known && e.Status.Exited() && e.Status.ExitStatus() == codeExecFailed
}

func (e Exit) unhandled(asked syscall.Signal) bool {
	return e.Known && e.Status.Signaled() && e.Status.Signal() == asked
}

// step says what an exit means for a server in a state. Who was not asked has left. Between the signal and the end of the hold
// time every exit but a clean one counts against the new binary, and so does one that nobody saw:
// the fleet is worth more than the rollout. Later only those do that nothing else explains.
func (e Exit) step(s State, asked syscall.Signal) Step {
	switch {
	case !s.Kept() || s == Upgraded:
		return Quit
	case e.execFailed(), e.unhandled(asked):
		return Crashed
	case s != Notified && s != Holding:
		return Quit
	case e.Known && e.Status.Exited() && e.Status.ExitStatus() == 0:
		return Quit
	}
	return Crashed
}

// describe puts e into words; asked is the signal that makes a server upgrade.
func (e Exit) describe(asked syscall.Signal) string {
	switch {
	case !e.Known:
		return "nobody saw how it ended"
	case e.execFailed():
		return fmt.Sprintf("exit code %d: its exec failed", codeExecFailed)
	case e.unhandled(asked):
		return "the signal to upgrade ended it: it had no handler"
	case e.Status.Signaled():
		return "signal: " + e.Status.Signal().String()
	}
	return fmt.Sprintf("exit code %d", e.Status.ExitStatus())
}
