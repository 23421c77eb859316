// SPDX-License-Identifier: MIT

package rollout_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

func TestUsers_Unproven_ThreeAtMostASecondApart(t *testing.T) {
	t.Parallel()
	h := newHost(t, nil)
	for pid := range selector.PID(5) {
		h.start(pid+1, uint32(pid), "/d")
	}
	h.pass(0)
	if len(h.sent) != 1 {
		t.Fatalf("%v were signalled at once, want one", h.sent)
	}
	h.exec(h.sent[0], newImage) // and it hangs
	h.pass(990 * time.Millisecond)
	if len(h.sent) != 1 {
		t.Fatalf("%v were signalled within a second, want one", h.sent)
	}
	h.pass(20 * time.Millisecond)
	h.exec(h.sent[1], newImage)
	h.pass(time.Second)
	h.exec(h.sent[2], newImage)
	h.pass(20 * time.Second)
	if len(h.sent) != 3 {
		t.Fatalf("%v were signalled while three are unproven, want three", h.sent)
	}
	h.arm(h.sent[1])
	h.pass(2*time.Second + 10*time.Millisecond)
	if len(h.sent) != 5 {
		t.Errorf("%v were signalled after a proof, want all five", h.sent)
	}
}

func TestUsers_CanariesOfThreeDie_HaltsForAll(t *testing.T) {
	t.Parallel()
	h := newHost(t, nil)
	for pid := range selector.PID(12) {
		h.start(pid+1, uint32(pid%4), "/d")
	}
	for range 20 {
		h.pass(time.Second)
		for _, pid := range h.sent {
			if m := h.Member(pid); m != nil {
				h.exec(pid, newImage)
				h.exit(pid, exit1)
			}
		}
	}
	r := h.wantPhase("after three users' canaries died", rollout.PhaseHalted)
	if len(h.sent) != 3 || r.Deaths != 3 {
		t.Errorf("%v were signalled, %d died; want 3", h.sent, r.Deaths)
	}
	h.Resume(nil, h.now)
	h.pass(0)
	if len(h.sent) != 4 {
		t.Errorf("after resume %v were signalled, want one canary more", h.sent)
	}
}

func TestGroup_LastUpgradedGoFirst_TimedOutLast(t *testing.T) {
	t.Parallel()
	h := newHost(t, nil)
	for pid, rank := range map[selector.PID]rollout.Rank{1: rollout.RankLast, 2: rollout.RankUsual, 3: rollout.RankFirst} {
		h.start(pid, 1, "/d")
		h.Drop(h.Member(pid))
		h.Observe(*h.live[pid], selector.Decision{Verdict: selector.Outdated, Stale: true}, rank, h.now)
	}
	h.pass(0)
	h.exec(3, newImage)
	h.arm(3)
	h.pass(time.Second)
	h.want("in order", 3, 2, 1)
}

func TestScript_ExecSeen_IsAProof(t *testing.T) {
	t.Parallel()
	h := newHost(t, func(h *host) { h.script = true })
	h.start(1, 1, "/d")
	h.start(2, 1, "/d")
	h.pass(0)
	h.exec(1, oldImage) // the script execs the same binary
	h.arm(1)
	h.pass(time.Second)
	h.want("after the exec of a script", 1, 2)
}

func TestScan_ExitWithZeroAfterSignal_IsADeath(t *testing.T) {
	t.Parallel()
	h := newHost(t, func(h *host) { h.cfg.SeesExec = false })
	h.start(1, 1, "/d")
	h.start(2, 1, "/d")
	h.pass(0)
	h.exit(1, 0) // no event says whether it has exec'd
	h.pass(time.Minute)
	h.want("after an exit that may be the binary's", 1)
}

func TestForeignSignal_Deaths_AreNamedNeverComplete(t *testing.T) {
	t.Parallel()
	h := newHost(t, func(h *host) { h.cfg.Limits.MaxFailures = 99 })
	h.start(1, 1, "/d")
	h.start(2, 1, "/d")
	for _, pid := range []selector.PID{1, 2} {
		h.SentByOther(h.Member(pid), 4242, h.now, h.now)
		h.exec(pid, newImage)
		h.exit(pid, exit1)
	}
	h.AddDeath(rollout.Death{Identity: selector.Identity{PID: 3, StartTime: 3}, UID: 1, Sender: 4242, Exit: selector.Exit{Known: true, Status: uint32(exit1)}}, h.now)
	r := h.wantPhase("after all died of another sender", rollout.PhaseFailed)
	if diff := cmp.Diff([]rollout.ForeignDeaths{{Sender: 4242, Deaths: 3}}, r.Foreign); diff != "" || r.Deaths != 3 {
		t.Errorf("the deaths of other senders, %d in all (-want +got):\n%s", r.Deaths, diff)
	}
	if got, want := r.Foreign[0].String(), "3 died after signals of process 4242, the servers' own trigger as a rule"; got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
}

// The signal arrived during an exec, so its sender caused the death, not the file.
func TestForeignSignal_EndsServer_HaltsNot(t *testing.T) {
	t.Parallel()
	h := newHost(t, nil)
	h.start(1, 1, "/d")
	h.start(2, 1, "/d")
	h.SentByOther(h.Member(1), 4242, h.now, h.now)
	h.exec(1, newImage)
	h.exit(1, syscall.WaitStatus(syscall.SIGUSR1))
	h.pass(time.Second)
	h.want("after the other sender's signal ended one", 2)
	if r := h.Report(false); r.Deaths != 1 || len(r.Foreign) != 1 || len(r.Halts) != 0 {
		t.Errorf("the rollout is %+v, want the death reported, and no halt", r)
	}
}

func TestSelf_OthersPending_GoesLast(t *testing.T) {
	t.Parallel()
	h := newHost(t, func(h *host) { h.cfg.Limits.Canary, h.cfg.Self = 0, 1 })
	for pid := range selector.PID(3) {
		h.start(pid+1, uint32(pid%2), "/d")
	}
	h.pass(0)
	if len(h.sent) != 3 || h.sent[2] != 1 {
		t.Errorf("%v were signalled, want 1 last", h.sent)
	}
}

func TestSnapshot_Restored_KeepsProofsAndHalts(t *testing.T) {
	t.Parallel()
	h := newHost(t, nil)
	h.start(1, 1, "/d")
	h.start(2, 1, "/d")
	h.start(3, 2, "/d")
	h.pass(time.Second)
	h.exec(1, newImage)
	h.arm(1)
	h.pass(300 * time.Millisecond)
	h.exec(3, newImage)
	h.exit(3, exit1)
	kept := h.WithMembers()
	again := rollout.Restore(h.cfg, kept)
	for _, m := range kept.Members {
		again.RestoreMember(m)
	}
	same := cmp.Options{cmpopts.IgnoreUnexported(rollout.Member{})}
	if diff := cmp.Diff(kept, again.WithMembers(), same); diff != "" {
		t.Errorf("the restored rollout differs (-want +got):\n%s", diff)
	}
	if !again.IsStoppedFor(2) || again.IsStoppedFor(1) {
		t.Error("it is not halted for user 2 alone")
	}
}
