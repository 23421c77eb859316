// SPDX-License-Identifier: MIT

package rollout_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// lead makes a server exec the installed image after a signal of process 4242 that the rollout did not record. The
// server hangs there.
func (h *host) lead(pid selector.PID, user uint32) *selector.Process {
	p := &selector.Process{
		Identity: selector.Identity{PID: pid, StartTime: uint64(pid)}, Image: newImage, DataDir: "/d",
		Credentials: selector.Credentials{Owner: selector.User{UID: user}},
	}
	h.live[pid] = p
	h.ObserveForeign(*p, selector.Decision{Verdict: selector.UpToDate}, 4242, h.now, h.now)
	h.observe(pid)
	return p
}

// armTimeout is the limit of all rollouts of the tests.
var armTimeout = rollout.DefaultLimits().ArmTimeout

func TestForeignSignal_HangsInNewImage_HaltsItsGroup(t *testing.T) {
	t.Parallel()
	h := newHost(t, nil)
	led := h.now
	h.lead(1, 1)
	h.lead(2, 1)
	h.start(3, 1, "/d")
	h.start(4, 2, "/d") // another user: its own proof
	h.pass(time.Second)
	h.exec(4, newImage)
	h.arm(4)
	h.pass(armTimeout - 2*time.Second)
	h.want("before the arm timeout", 4)
	if r := h.Report(false); r.Phase.IsOver() {
		t.Errorf("the rollout is %+v while two servers are not armed", r)
	}
	h.pass(2 * time.Second)
	r := h.wantPhase("after two minutes", rollout.PhaseHalted)
	want := []rollout.Halt{{UID: 1, Path: "/bin/rag-rat", Behind: 1, Next: 3, Reason: "servers that run the new image after signals of process 4242, " +
		"the servers' own trigger as a rule, are not armed after 2m0s: 2", Since: led.Add(armTimeout)}}
	if diff := cmp.Diff(want, r.Halts); diff != "" {
		t.Errorf("the reasons differ (-want +got):\n%s", diff)
	}
	h.pass(time.Hour)
	h.want("while they hang", 4)
	h.arm(1)
	h.arm(2)
	h.pass(300 * time.Millisecond)
	h.want("after they are armed after all", 4, 3)
}

// No server is left that could be a canary.
func TestForeignSignal_AllHang_IsNeverComplete(t *testing.T) {
	t.Parallel()
	h := newHost(t, nil)
	h.lead(1, 1)
	h.pass(time.Minute)
	h.wantPhase("while it may arm itself", rollout.PhaseCanary)
	h.pass(2 * time.Minute)
	h.wantPhase("after two minutes", rollout.PhaseHalted)
	h.Resume(nil, h.now)
	h.observe(1)
	h.wantPhase("after an operator accepted that", rollout.PhaseComplete)
}

// Without the kernel's events, no event reports the signal of another sender.
func TestForeignSignal_Unreported_HaltsItsGroup(t *testing.T) {
	t.Parallel()
	h := newHost(t, func(h *host) { h.cfg.SeesExec = false })
	h.start(1, 1, "/d")
	h.live[1].Image, h.live[1].Catches = newImage, false
	h.observe(1)
	h.pass(armTimeout + time.Second)
	r := h.wantPhase("after two minutes", rollout.PhaseHalted)
	want := "servers that run the new image after signals of another sender, the servers' own trigger as a rule, are not armed after 2m0s: 1"
	if len(r.Halts) != 1 || r.Halts[0].Reason != want {
		t.Errorf("the reasons are %v, want %q", r.Halts, want)
	}
}

func TestForeignSignal_ExitsUnarmed_IsADeath(t *testing.T) {
	t.Parallel()
	h := newHost(t, nil)
	h.lead(1, 1)
	h.start(2, 1, "/d")
	h.exit(1, 0)
	h.pass(time.Minute)
	h.want("after the death", []selector.PID{}...)
	r := h.wantPhase("after it", rollout.PhaseHalted)
	if len(r.Foreign) != 1 || r.Foreign[0] != (rollout.ForeignDeaths{Sender: 4242, Deaths: 1}) {
		t.Errorf("the deaths of other senders are %v", r.Foreign)
	}
}

// The rollout does not wait for a server that is armed, or runs another file, or is none.
func TestForeignSignal_OtherServer_NotAwaited(t *testing.T) {
	t.Parallel()
	h := newHost(t, nil)
	for _, c := range []struct {
		p selector.Process
		v selector.Verdict
	}{
		{selector.Process{Image: newImage, Catches: true}, selector.UpToDate},
		{selector.Process{Image: otherImage}, selector.UpToDate},
		{selector.Process{Image: newImage}, selector.NotOurs},
	} {
		if c.p.PID = 1; h.ObserveForeign(c.p, selector.Decision{Verdict: c.v}, 4242, h.now, h.now) || !h.IsEmpty() {
			t.Errorf("%s, %+v is waited for", c.v, c.p)
		}
	}
}

func TestResume_CanaryHangs_NotAwaitedAgain(t *testing.T) {
	t.Parallel()
	h := newHost(t, nil)
	for pid := range selector.PID(3) {
		h.start(pid+1, 1, "/d")
	}
	h.pass(0)
	h.exec(1, newImage) // and it hangs
	h.pass(armTimeout + time.Second)
	h.wantPhase("the canary hangs", rollout.PhaseHalted)
	h.Resume(nil, h.now)
	h.pass(20 * time.Second)
	h.want("after the resume, while the canary may exec", 1, 2)
	h.pass(20 * time.Second)
	h.want("after the canary has timed out", 1, 2, 3)
	if m := h.Member(1); m != nil && m.State == rollout.Settling {
		t.Errorf("the server that hangs is waited for: %+v", *m)
	}
}
