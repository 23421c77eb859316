// SPDX-License-Identifier: MIT

package controller

import (
	"time"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// reasons returns a function that says what a server waits for. It must not be used after a change of the controller's state.
func (c *Controller) reasons(now time.Time) func(selector.PID) rollout.Wait {
	of := make(map[*attached]func(*rollout.Member) rollout.Wait)
	return func(pid selector.PID) rollout.Wait {
		r, m := c.rollouts.of(pid), c.rollouts.member(pid)
		if m == nil {
			return rollout.Wait{}
		}
		if w := c.hindrance(m, now); w.For != "" {
			return w
		}
		if of[r] == nil {
			of[r] = r.Reasons(now)
		}
		w := of[r](m)
		if p := c.registry.Process(pid); w.For == rollout.WaitTurn && !p.Install.MaySignal() {
			w = rollout.Wait{For: rollout.WaitService, Why: "the installed file is not ready, or is checked now"}
		} else if w.For == rollout.WaitTurn && c.rollouts.holds.has(p.User) {
			w = rollout.Wait{For: rollout.WaitService, Why: "other processes of its user are inspected first"}
		}
		return w
	}
}

// hindrance is what keeps the service from signalling any server.
func (c *Controller) hindrance(m *rollout.Member, now time.Time) rollout.Wait {
	switch {
	case m.State != rollout.Pending && m.State != rollout.TimedOut:
	case c.rollouts.pauses.All != nil:
		return rollout.PauseWait("an operator paused the service", *c.rollouts.pauses.All)
	case c.rollouts.pauses.For(m.UID) != nil:
		return rollout.PauseWait("its user is paused", *c.rollouts.pauses.For(m.UID))
	case c.rollouts.persist.problem() != "":
		return rollout.Wait{For: rollout.WaitService, Why: "the journal cannot be written: " + c.rollouts.persist.problem()}
	case m.State != rollout.Pending:
	case c.surveys.stage == stageBlind:
		return rollout.Wait{For: rollout.WaitService, Why: "the candidates could not be listed: a resync comes first"}
	case now.Sub(c.registry.Process(m.PID).InExecAt) < execGrace:
		return rollout.Wait{For: rollout.WaitService, Why: "was inside an exec", Until: c.registry.Process(m.PID).InExecAt.Add(execGrace)}
	}
	return rollout.Wait{}
}
