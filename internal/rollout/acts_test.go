// SPDX-License-Identifier: MIT

package rollout_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// kill has the server that was signalled last exec the installed file, and exit with 1.
func (h *host) kill() {
	pid := h.sent[len(h.sent)-1]
	h.exec(pid, newImage)
	h.exit(pid, exit1)
}

// killThree has the canaries of three users die.
func (h *host) killThree() {
	h.pass(4 * time.Second)
	for _, pid := range h.sent {
		h.exec(pid, newImage)
		h.exit(pid, exit1)
	}
}

// again restores the rollout from its snapshot.
func (h *host) again() {
	h.Rollout = rollout.Restore(h.cfg, h.Snapshot())
	h.IsResynced = true
	for pid := range h.live {
		h.observe(pid)
	}
}

func TestResume_BinaryStillDies_CostsOneServer(t *testing.T) {
	t.Parallel()
	for _, canaries := range []int{0, 1, 3} {
		h := newHost(t, func(h *host) { h.cfg.Limits.Canary = canaries })
		h.start(1, 1, "/d")
		h.pass(0)
		h.kill()
		for pid := range selector.PID(8) {
			h.start(pid+2, 1, fmt.Sprintf("/d%d", pid%2))
		}
		for round := range 3 {
			h.pass(time.Hour)
			h.wantPhase("after a death", rollout.PhaseHalted)
			before := len(h.sent)
			if n := h.Resume(nil, h.now); n != 1 {
				t.Fatalf("%d users were resumed, want 1", n)
			}
			h.again()
			h.pass(30 * time.Second) // the canary is busy
			if got := len(h.sent) - before; got != 1 {
				t.Fatalf("--canary %d, resume %d: %d servers were signalled at once, want 1", canaries, round, got)
			}
			h.kill()
		}
	}
}

func TestResume_GoodBinary_OthersFollowItsProof(t *testing.T) {
	t.Parallel()
	h := newHost(t, nil)
	for pid := range selector.PID(4) {
		h.start(pid+1, 1, "/d")
	}
	h.pass(0)
	h.kill()
	h.Resume(nil, h.now)
	h.pass(time.Second)
	h.want("after the resume", 1, 2)
	h.exec(2, newImage)
	h.arm(2)
	h.pass(time.Second)
	h.want("after the proof", 1, 2, 3, 4)
	for _, pid := range []selector.PID{3, 4} {
		h.exec(pid, newImage)
		h.arm(pid)
	}
	h.pass(time.Minute)
	if r := h.wantPhase("at the end, although a server died before the resume", rollout.PhaseFailed); r.Deaths != 1 {
		t.Errorf("the report has %d deaths, want 1", r.Deaths)
	}
}

func TestResume_OneUser_OthersStayHalted(t *testing.T) {
	t.Parallel()
	h := newHost(t, nil)
	for _, user := range []uint32{1, 2} {
		h.start(selector.PID(10*user), user, "/d")
		h.pass(5 * time.Second)
		h.kill()
		for n := range selector.PID(3) {
			h.start(selector.PID(10*user)+n+1, user, "/d")
		}
	}
	h.wantPhase("after two deaths", rollout.PhaseHalted)
	if n := h.Resume(new(uint32(1)), h.now); n != 1 {
		t.Errorf("%d users were resumed, want 1", n)
	}
	h.pass(time.Second)
	h.want("after the resume of user 1", 10, 20, 11)
	r := h.wantPhase("while its canary is under way", rollout.PhaseCanary)
	if len(r.Halts) != 1 || r.Halts[0].UID != 2 {
		t.Errorf("the halts are %+v, want that of user 2", r.Halts)
	}
	if n := h.Resume(new(uint32(3)), h.now); n != 0 {
		t.Errorf("%d users were resumed that are not halted", n)
	}
}

// Canaries of three users died, so the rollout is halted for a fourth one as well.
func TestResume_OneOfAll_CostsOneServer(t *testing.T) {
	t.Parallel()
	for _, resumed := range []uint32{1, 4} {
		h := newHost(t, nil)
		for user := range uint32(4) {
			for n := range selector.PID(3) {
				h.start(selector.PID(user*10+10)+n, user+1, "/d")
			}
		}
		h.killThree()
		if r := h.wantPhase("after three users lost a canary", rollout.PhaseHalted); !r.IsHaltedForAll || len(h.sent) != 3 {
			t.Fatalf("%v were signalled, and the rollout is %+v; want it halted for all after 3", h.sent, r)
		}
		h.Resume(new(resumed), h.now)
		h.again()
		h.pass(30 * time.Second) // the canary is busy
		if len(h.sent) != 4 || h.Member(h.sent[3]).UID != resumed {
			t.Fatalf("after the resume of user %d these were signalled: %v", resumed, h.sent)
		}
		h.kill()
		h.pass(time.Hour)
		h.wantPhase("after another death", rollout.PhaseHalted)
	}
}

func TestResume_OneOfAllIsProven_OthersFollow(t *testing.T) {
	t.Parallel()
	h := newHost(t, nil)
	for user := range uint32(4) {
		h.start(selector.PID(user*10+10), user+1, "/d")
		h.start(selector.PID(user*10+11), user+1, "/d")
	}
	h.killThree()
	h.Resume(new(uint32(1)), h.now)
	h.pass(time.Second)
	proven := h.sent[3]
	h.exec(proven, newImage)
	h.arm(proven)
	h.pass(10 * time.Second)
	for _, pid := range h.sent[4:] {
		if u := h.Member(pid).UID; u != 4 && u != 1 {
			t.Errorf("%d was signalled, and its user %d is halted", pid, u)
		}
	}
	if len(h.sent) < 5 {
		t.Errorf("only %v were signalled, want those of the user without a death as well", h.sent)
	}
}

func TestAbandon_Rollout_SignalsNoServer(t *testing.T) {
	t.Parallel()
	h := newHost(t, nil)
	for pid := range selector.PID(6) {
		h.start(pid+1, uint32(pid%2), "/d")
	}
	h.pass(0)
	h.kill()
	by := rollout.Act{UID: 7, PID: 70, At: h.now, Reason: "bad"}
	h.Abandon(nil, by)
	h.Abandon(nil, rollout.Act{UID: 8, At: h.now})
	h.again()
	if n := h.Resume(nil, h.now); n != 0 {
		t.Errorf("%d users were resumed of an abandoned rollout", n)
	}
	h.start(9, 3, "/d")
	h.pass(time.Hour)
	h.want("after it was abandoned", 1)
	r := h.wantPhase("after it was abandoned", rollout.PhaseAbandoned)
	if diff := cmp.Diff([]rollout.Abandonment{{Act: by}}, r.Abandoned); diff != "" || len(r.Halts) > 0 || !r.Phase.IsOver() {
		t.Errorf("the rollout is %+v, (-want +got):\n%s", r, diff)
	}
}

func TestAbandon_OneUser_OthersGoOn(t *testing.T) {
	t.Parallel()
	h := newHost(t, nil)
	for pid := range selector.PID(6) {
		h.start(pid+1, uint32(pid%2), "/d")
	}
	h.Abandon(new(uint32(1)), rollout.Act{UID: 1, At: h.now})
	h.again()
	for range 9 {
		h.pass(3 * time.Second)
		for pid, p := range h.live {
			if m := h.Member(pid); m != nil && m.State == rollout.Signalled && p.Image == oldImage {
				h.exec(pid, newImage)
				h.arm(pid)
			}
		}
	}
	h.want("of the other user", 1, 3, 5)
	r := h.wantPhase("when the other user's are upgraded", rollout.PhaseAbandoned)
	if !h.IsStoppedFor(1) || h.IsStoppedFor(0) || len(r.Abandoned) != 1 || *r.Abandoned[0].User != 1 {
		t.Errorf("the rollout is %+v, want it abandoned for user 1 only", r)
	}
}
