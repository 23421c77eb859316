// SPDX-License-Identifier: MIT

package rollout_test

import (
	"strings"
	"testing"
	"time"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// wantWait wants a member to wait for that, in words that have the text.
func (h *host) wantWait(pid selector.PID, want rollout.WaitFor, text string) rollout.Wait {
	h.t.Helper()
	got := h.Reasons(h.now)(h.Member(pid))
	if got.For != want || !strings.Contains(got.Why, text) {
		h.t.Errorf("server %d waits for %q, %q; want %q, %q", pid, got.For, got.Why, want, text)
	}
	return got
}

// TestWait_EachStep_IsNamed follows servers of two groups from their canary to the end.
func TestWait_EachStep_IsNamed(t *testing.T) {
	t.Parallel()
	h := newHost(t, nil)
	h.start(1, 7, "/a")
	for pid := selector.PID(2); pid < 6; pid++ {
		h.start(pid, 7, "/b")
	}
	h.busy[1], h.busy[2] = true, true
	h.pass(100 * time.Millisecond) // 3 is idle, so it goes before them
	h.busy[1], h.busy[2] = false, false
	h.wantWait(3, rollout.WaitExec, "has not exec'd yet")
	h.wantWait(2, rollout.WaitCanary, "the canary of its group, 3, is signalled")
	h.wantWait(1, rollout.WaitGroup, "another group of its user goes first: 3 is signalled")
	h.exec(3, newImage)
	if w := h.wantWait(3, rollout.WaitArm, "not armed"); w.Until.Sub(h.now) != armTimeout {
		t.Errorf("it may arm itself until %s, now is %s", w.Until, h.now)
	}
	h.arm(3)
	h.wantWait(3, rollout.WaitHold, "hold time")
	h.wantWait(2, rollout.WaitCanary, "is settling")
	h.busy[2] = true
	h.pass(400 * time.Millisecond)
	if w := h.wantWait(2, rollout.WaitIdle, "busy for "); !w.Until.After(h.now) {
		t.Errorf("it waits for a quiet moment until %s, now is %s", w.Until, h.now)
	}
	h.pass(h.cfg.Limits.ConfirmTimeout)
	h.observe(4)
	if w := h.wantWait(4, rollout.WaitRetry, "signalled once in vain"); !w.Until.Equal(h.Member(4).SignalledAt.Add(h.cfg.Limits.RetryAfter)) {
		t.Errorf("the next signal is at %s", w.Until)
	}
	if w := h.Reasons(h.now)(&rollout.Member{State: rollout.Upgraded}); w.For != "" {
		t.Errorf("an upgraded server waits for %+v", w)
	}
}

// TestWait_Halt_SaysSinceWhenAndWhy for the user with the death, and not for another.
func TestWait_Halt_SaysSinceWhenAndWhy(t *testing.T) {
	t.Parallel()
	h := newHost(t, nil)
	h.start(1, 7, "/d")
	h.start(2, 7, "/d")
	h.pass(0)
	h.start(3, 8, "/d")
	h.wantWait(3, rollout.WaitUsers, "other users go first")
	died := h.now
	h.exit(1, 70<<8)
	h.pass(10 * time.Second)
	if w := h.wantWait(2, rollout.WaitResume, "rollout 1 is halted for its user: server 1 died: "); !w.Since.Equal(died) {
		t.Errorf("halted since %s, want %s", w.Since, died)
	}
	h.wantWait(3, rollout.WaitExec, "")
}

func TestWait_Overdue_NamesItsGroup(t *testing.T) {
	t.Parallel()
	h := newHost(t, nil)
	h.start(1, 7, "/d")
	h.start(2, 7, "/d")
	h.pass(0)
	h.exec(1, newImage)
	h.pass(armTimeout)
	h.observe(1)
	h.wantWait(2, rollout.WaitResume, "halted for its group: ")
}

func TestWait_InFlightLimit_NamesTheFlag(t *testing.T) {
	t.Parallel()
	h := newHost(t, func(h *host) { h.cfg.Limits.InFlight.Servers, h.cfg.Limits.Canary = 1, 0 })
	h.start(1, 7, "/d")
	h.start(2, 7, "/d")
	h.pass(0)
	h.wantWait(2, rollout.WaitTurn, "--max-in-flight 1 allows")
}
