// SPDX-License-Identifier: MIT

package rollout_test

import (
	"testing"
	"time"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// wantWaited compares how long a server waited before its signal, and whether it was still busy then.
func (h *host) wantWaited(pid selector.PID, waited time.Duration, overran bool) {
	h.t.Helper()
	m := h.Member(pid)
	if got := time.Duration(m.Waited); got != waited || m.Overran != overran || !m.BusySince.IsZero() {
		h.t.Errorf("%d waited %s, overran: %t, busy since %s; want %s, %t, not", pid, got, m.Overran, m.BusySince, waited, overran)
	}
}

func TestQuiet_Busy_WaitsUntilTheLimit(t *testing.T) {
	t.Parallel()
	h := newHost(t, nil)
	h.start(1, 1, "/d")
	h.busy[1] = true
	h.pass(4900 * time.Millisecond)
	h.want("before the limit")
	if m := h.Member(1); h.now.Sub(m.BusySince) != 4900*time.Millisecond {
		t.Errorf("busy since %s", m.BusySince)
	}
	h.pass(100 * time.Millisecond)
	h.want("at the limit", 1)
	h.wantWaited(1, 5*time.Second, true)
}

func TestQuiet_BecomesIdle_IsSignalledAtOnce(t *testing.T) {
	t.Parallel()
	h := newHost(t, nil)
	h.start(1, 1, "/d")
	h.busy[1] = true
	h.pass(time.Second)
	h.busy[1] = false
	h.pass(10 * time.Millisecond)
	h.want("idle", 1)
	h.wantWaited(1, time.Second, false)
}

func TestQuiet_IdleServer_IsCanaryBeforeBusyOne(t *testing.T) {
	t.Parallel()
	h := newHost(t, nil)
	for pid := range selector.PID(3) {
		h.start(pid+1, 1, "/d")
	}
	h.busy[1], h.busy[2] = true, true
	h.pass(10 * time.Millisecond)
	h.want("one is idle", 3)
	h.wantWaited(3, 0, false)
}

func TestQuiet_OpenGroup_WaitsTwoSecondsAnew(t *testing.T) {
	t.Parallel()
	h := newHost(t, nil)
	for pid := range selector.PID(2) {
		h.start(pid+1, 1, "/d")
	}
	h.busy[1], h.busy[2] = true, true
	h.pass(3 * time.Second) // both wait
	h.busy[2] = false
	h.pass(10 * time.Millisecond)
	h.want("one is idle", 2)
	h.exec(2, newImage)
	h.arm(2)
	h.pass(2290 * time.Millisecond) // the hold time of the group, and 1.99 s
	h.want("the other is still busy", 2)
	h.pass(20 * time.Millisecond)
	h.want("after 2 s", 2, 1)
	h.wantWaited(1, 2*time.Second, true)
}

func TestQuiet_Deadline_EndsWaits(t *testing.T) {
	t.Parallel()
	h := newHost(t, func(h *host) {
		h.cfg.Limits.QuietBy, h.cfg.Limits.GroupHold = 300*time.Millisecond, 100*time.Millisecond
	})
	for pid := range selector.PID(3) {
		h.start(pid+1, 1, "/d")
		h.busy[pid+1] = true
	}
	h.pass(0)
	h.want("the canary does not wait", 1)
	h.exec(1, newImage)
	h.arm(1)
	h.pass(290 * time.Millisecond)
	h.want("the others wait", 1)
	h.pass(10 * time.Millisecond)
	h.want("until the deadline", 1, 2, 3)
	h.start(4, 1, "/d")
	h.busy[4] = true
	h.pass(1990 * time.Millisecond)
	h.want("a later one waits as without a deadline", 1, 2, 3)
	h.pass(10 * time.Millisecond)
	h.want("and not longer", 1, 2, 3, 4)
}

func TestQuiet_Busy_ReportedOnce(t *testing.T) {
	t.Parallel()
	reports := 0
	h := newHost(t, func(h *host) {
		h.cfg.Moved = func(m rollout.Member, _ rollout.State) {
			if !m.BusySince.IsZero() {
				reports++
			}
		}
	})
	h.start(1, 1, "/d")
	h.busy[1] = true
	h.pass(time.Second)
	if reports != 1 {
		t.Errorf("a busy server was reported %d times, want once", reports)
	}
}

func TestQuiet_Unsure_WaitsUnlessDeadline(t *testing.T) {
	t.Parallel()
	for _, by := range []time.Duration{0, 300 * time.Millisecond} {
		h := newHost(t, func(h *host) { h.cfg.Limits.QuietBy = by })
		h.start(1, 1, "/d")
		h.unsure[1] = true
		h.pass(200 * time.Millisecond)
		if by > 0 {
			h.want("before the deadline", 1)
			continue
		}
		h.want("without a deadline")
		h.pass(4790 * time.Millisecond)
		h.want("for 4.99 s")
		h.pass(10 * time.Millisecond)
		h.want("after 5 s", 1)
	}
}
