// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"testing"

	"ebpf-upgrader/internal/rollout"
)

// TestRolloutLog_HaltOfAll_IsOneLine: besides a line for each user, one says that all are halted. It comes again only after
// the halt has ended.
func TestRolloutLog_HaltOfAll_IsOneLine(t *testing.T) {
	t.Parallel()
	lines, l := newLogged(t)
	upgrade(l, 1, 1, rollout.Pending, rollout.Signalled, rollout.Crashed)
	lines.want("rollout-began", "server-crashed")
	all := reportOf(rollout.PhaseHalted, rollout.Halt{UID: 1, Reason: "server 1 died"}, rollout.Halt{UID: 2, Reason: "server 2 died"}, rollout.Halt{UID: 3, Reason: "server 3 died"})
	all.IsHaltedForAll = true
	l.Rollout(all)
	lines.want("rollout-halted", "rollout-halted", "rollout-halted", "rollout-halted-for-all")
	l.Rollout(all)
	lines.want()
	l.Rollout(reportOf(rollout.PhaseCanary))
	l.Rollout(all)
	lines.want("rollout-halted", "rollout-halted", "rollout-halted", "rollout-halted-for-all")
}

// TestUserNames_NoName_SaysUID: a bare number in a sentence could be a PID.
func TestUserNames_NoName_SaysUID(t *testing.T) {
	t.Parallel()
	names := newUserNames()
	const nameless = 4294967290
	names.of(nameless)
	names.look(nameless, "4294967290")
	if got := names.of(nameless); got != "uid 4294967290" {
		t.Errorf("a user without a name is %q", got)
	}
}
