// SPDX-License-Identifier: MIT

package rollout_test

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// upgrade starts servers of the users, each with the PID 10 times the number of the user, and upgrades them all.
func (h *host) upgrade(users ...uint32) {
	h.t.Helper()
	for _, user := range users {
		h.start(selector.PID(10*user), user, "")
	}
	for range users {
		h.pass(time.Second)
		for pid := range h.live {
			if m := h.Member(pid); m != nil && m.State == rollout.Signalled {
				h.exec(pid, newImage)
				h.arm(pid)
			}
		}
		h.pass(3 * time.Second)
	}
	h.wantPhase("all are upgraded", rollout.PhaseComplete)
}

func TestLateCrash_EachEnd_IsJudged(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status syscall.WaitStatus
		after  time.Duration
		isLate bool
	}{
		"SIGSEGV":       {syscall.WaitStatus(syscall.SIGSEGV), time.Minute, true},
		"SIGABRT, core": {syscall.WaitStatus(syscall.SIGABRT) | 0x80, time.Minute, true},
		"SIGBUS":        {syscall.WaitStatus(syscall.SIGBUS), time.Minute, true},
		"SIGILL":        {syscall.WaitStatus(syscall.SIGILL), time.Minute, true},
		"SIGFPE":        {syscall.WaitStatus(syscall.SIGFPE), time.Minute, true},
		"SIGSYS":        {syscall.WaitStatus(syscall.SIGSYS), time.Minute, true},
		"failed exec":   {syscall.WaitStatus(70 << 8), time.Minute, true},
		"panic":         {syscall.WaitStatus(101 << 8), 50 * time.Minute, true},
		"too late":      {syscall.WaitStatus(101 << 8), 2 * time.Hour, false},
		"clean":         {0, time.Minute, false},
		"exit code 1":   {exit1, time.Minute, false},
		"killed":        {syscall.WaitStatus(syscall.SIGKILL), time.Minute, false},
		"stopped":       {syscall.WaitStatus(syscall.SIGTERM), time.Minute, false},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, nil)
			h.upgrade(1)
			h.now = h.now.Add(c.after)
			h.exit(10, c.status)
			r := h.Report(false)
			if (r.Late == 1) != c.isLate || (r.Phase == rollout.PhaseHalted) != c.isLate || (r.FailedHere() != "") != c.isLate {
				t.Errorf("late %d, %s, failed %q", r.Late, r.Phase, r.FailedHere())
			}
			if c.isLate && !strings.Contains(r.Halts[0].Deaths[0].String(), "after its upgrade") {
				t.Errorf("described as %q", r.Halts[0].Deaths[0])
			}
		})
	}
}

func TestLateCrash_Unseen_IsNone(t *testing.T) {
	t.Parallel()
	h := newHost(t, nil)
	h.upgrade(1)
	h.Ended(10, selector.Exit{}, h.now)
	if r := h.wantPhase("the end was not seen", rollout.PhaseComplete); r.Late != 0 {
		t.Errorf("late: %d", r.Late)
	}
}

// TestLateCrash_OneUserOfThree_HaltsThatUser: one user cannot fail the release for the host, and two can.
func TestLateCrash_OneUserOfThree_HaltsThatUser(t *testing.T) {
	t.Parallel()
	h := newHost(t, nil)
	h.upgrade(1, 2, 3)
	h.exit(10, syscall.WaitStatus(syscall.SIGSEGV))
	h.start(11, 1, "")
	h.start(21, 2, "")
	h.sent = nil
	h.pass(time.Second)
	h.want("the first user is halted", 21)
	if why := h.Report(false).FailedHere(); why != "" {
		t.Errorf("failed: %s", why)
	}
	h.exit(20, syscall.WaitStatus(syscall.SIGSEGV))
	if h.Report(false).FailedHere() == "" {
		t.Error("two users' servers crashed, and the release has not failed")
	}
}

func TestLateCrash_BelowLimit_IsCountedOnly(t *testing.T) {
	t.Parallel()
	for limit, want := range map[int]int{0: 0, 2: 1} {
		h := newHost(t, func(h *host) { h.cfg.Limits.MaxLate = limit })
		h.upgrade(1, 2)
		h.exit(10, syscall.WaitStatus(syscall.SIGSEGV))
		if r := h.wantPhase("below the limit", rollout.PhaseComplete); r.Late != want {
			t.Errorf("limit %d: late %d, want %d", limit, r.Late, want)
		}
	}
}

// TestLateCrash_BelowLimit_IsDescribed: the report names the latest crashes, of each user and of all, also after a restart.
func TestLateCrash_BelowLimit_IsDescribed(t *testing.T) {
	t.Parallel()
	h := newHost(t, func(h *host) { h.cfg.Limits.MaxLate = 100 })
	h.upgrade(1, 2, 3, 4)
	for round := range 3 {
		for user := range uint32(4) {
			pid := selector.PID(10 * (user + 1))
			if round > 0 {
				pid += selector.PID(round)
				h.start(pid, user+1, "")
				h.pass(time.Second)
				h.exec(pid, newImage)
				h.arm(pid)
				h.pass(3 * time.Second)
			}
			h.now = h.now.Add(time.Minute)
			h.exit(pid, syscall.WaitStatus(101<<8))
		}
	}
	for _, when := range []string{"at first", "after a restart"} {
		r := h.Report(false)
		if r.Late != 12 || len(r.LateCrashes) != 8 || len(r.Halts) != 0 {
			t.Fatalf("%s: %d late, %d described, halts %v", when, r.Late, len(r.LateCrashes), r.Halts)
		}
		if last := r.LateCrashes[7]; last.UID != 4 || last.PID != 42 || last.At.Sub(last.UpgradedAt) < time.Minute || *last.ExitCode != 101 {
			t.Errorf("%s: the last is %+v", when, last)
		}
		if own := r.ByUser[2]; own.Late != 3 || len(own.LateCrashes) != 3 || own.LateCrashes[0].PID != 20 {
			t.Errorf("%s: a user has %+v", when, own)
		}
		h.Rollout = rollout.Restore(h.cfg, h.WithMembers())
		h.IsResynced = true
	}
}

func TestLateCrash_Restart_StaysHalted(t *testing.T) {
	t.Parallel()
	h := newHost(t, nil)
	h.upgrade(1)
	h.exit(10, syscall.WaitStatus(syscall.SIGSEGV))
	h.Rollout = rollout.Restore(h.cfg, h.WithMembers())
	h.IsResynced = true
	if r := h.wantPhase("after a restart", rollout.PhaseHalted); r.Late != 1 || r.FailedHere() == "" {
		t.Errorf("late %d, failed %q", r.Late, r.FailedHere())
	}
	h.Resume(nil, h.now)
	h.wantPhase("resumed", rollout.PhaseComplete)
}
