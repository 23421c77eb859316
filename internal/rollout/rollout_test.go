// SPDX-License-Identifier: MIT

package rollout_test

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

var (
	oldImage   = selector.Image{Dev: 1, Ino: 10}
	newImage   = selector.Image{Dev: 1, Ino: 20}
	otherImage = selector.Image{Dev: 1, Ino: 30}
)

// host is a fake host: the servers of a rollout, and a clock that the test moves.
type host struct {
	*rollout.Rollout
	t      *testing.T
	cfg    rollout.Config
	now    time.Time
	sent   []selector.PID
	live   map[selector.PID]*selector.Process
	script bool
	// busy and unsure have the servers with these permissions.
	busy   map[selector.PID]bool
	unsure map[selector.PID]bool
}

func newHost(t *testing.T, change func(*host)) *host {
	t.Helper()
	h := &host{t: t, now: time.Unix(1000, 0), live: make(map[selector.PID]*selector.Process), busy: make(map[selector.PID]bool), unsure: make(map[selector.PID]bool)}
	h.cfg = rollout.Config{Limits: rollout.DefaultLimits(), Signal: syscall.SIGUSR1, SeesExec: true}
	if change != nil {
		change(h)
	}
	install := selector.Install{Path: "/bin/rag-rat", Image: newImage, State: selector.StateReady, Script: h.script}
	h.Rollout = rollout.New(h.cfg, 1, install, h.now)
	h.IsResynced = true
	return h
}

// start adds an outdated server of a user with a data directory.
func (h *host) start(pid selector.PID, user uint32, data string) {
	h.live[pid] = &selector.Process{
		Identity: selector.Identity{PID: pid, StartTime: uint64(pid)}, Image: oldImage, Catches: true, DataDir: data,
		WorkDir:     fmt.Sprintf("/work/%d", pid),
		Credentials: selector.Credentials{Owner: selector.User{UID: user}},
	}
	h.observe(pid)
}

// observe inspects a server as it is now.
func (h *host) observe(pid selector.PID) {
	p := h.live[pid]
	d := selector.Decision{Verdict: selector.UpToDate}
	switch {
	case p.Image == newImage:
	case !p.Catches:
		d = selector.Decision{Verdict: selector.NoHandler, Stale: true}
	default:
		d = selector.Decision{Verdict: selector.Outdated, Stale: true}
	}
	h.Observe(*p, d, rollout.RankUsual, h.now)
}

// exec makes a server exec an image, which resets its handler. arm installs the handler again.
func (h *host) exec(pid selector.PID, image selector.Image) {
	h.live[pid].Image, h.live[pid].Catches = image, false
	h.Execed(pid, h.now)
	h.observe(pid)
}

func (h *host) arm(pid selector.PID) {
	h.live[pid].Catches = true
	h.observe(pid)
}

func (h *host) exit(pid selector.PID, status syscall.WaitStatus) {
	delete(h.live, pid)
	h.Ended(pid, selector.Exit{Known: true, Status: uint32(status)}, h.now)
}

func (h *host) allows(m *rollout.Member) rollout.Permission {
	switch {
	case h.unsure[m.PID]:
		return rollout.Unsure
	case h.busy[m.PID]:
		return rollout.Busy
	}
	return rollout.Allow
}

// pass moves the clock in steps of 10 ms, signals every server that may be signalled, and inspects those that were.
func (h *host) pass(d time.Duration) {
	for end := h.now.Add(d); ; h.now = h.now.Add(10 * time.Millisecond) {
		for {
			ready, _ := h.Next(h.now, h.allows)
			if len(ready) == 0 {
				break
			}
			slices.SortFunc(ready, func(a, b *rollout.Member) int { return int(a.PID - b.PID) })
			h.sent = append(h.sent, ready[0].PID)
			h.Sent(ready[0], h.live[ready[0].PID].Image, h.now, h.now)
		}
		if !h.now.Before(end) {
			return
		}
		for pid := range h.live {
			if m := h.Member(pid); m != nil && m.State != rollout.Pending {
				h.observe(pid)
			}
		}
	}
}

// want compares the servers that were signalled so far.
func (h *host) want(when string, pids ...selector.PID) {
	h.t.Helper()
	if diff := cmp.Diff(pids, h.sent, cmpopts.EquateEmpty()); diff != "" {
		h.t.Fatalf("%s: these were signalled (-want +got):\n%s", when, diff)
	}
}

func (h *host) wantPhase(when string, want rollout.Phase) rollout.Report {
	h.t.Helper()
	r := h.Report(false)
	if r.Phase != want {
		h.t.Fatalf("%s: the rollout is %+v, want it %s", when, r, want)
	}
	return r
}

const exit1 = syscall.WaitStatus(1 << 8)

func TestGroup_CanaryArmed_FollowsAfterGroupHold(t *testing.T) {
	t.Parallel()
	h := newHost(t, nil)
	for pid := range selector.PID(4) {
		h.start(pid+1, 1, "/d")
	}
	h.pass(100 * time.Millisecond)
	h.exec(1, newImage)
	h.pass(time.Second)
	h.want("before the canary is armed", 1)
	h.arm(1)
	h.pass(290 * time.Millisecond)
	h.want("before the group's hold time", 1)
	h.pass(10 * time.Millisecond)
	h.want("after it", 1, 2, 3, 4)
}

func TestGroup_CanaryExecsAnotherFile_StaysClosed(t *testing.T) {
	t.Parallel()
	h := newHost(t, nil)
	h.start(1, 1, "/d")
	h.start(2, 1, "/d")
	h.pass(0)
	h.exec(1, otherImage)
	h.arm(1)
	if m := h.Member(1); m.State != rollout.TimedOut {
		t.Errorf("the canary is %+v, want it timed out", m)
	}
	h.pass(time.Second)
	h.want("after an exec of another file", 1, 2)
	h.exec(2, newImage)
	h.start(3, 1, "/d")
	h.pass(30 * time.Second)
	h.want("while the second canary is not armed", 1, 2)
}

func TestCanary_ExitsWithZeroUnarmed_Halts(t *testing.T) {
	t.Parallel()
	h := newHost(t, nil)
	for pid := range selector.PID(10) {
		h.start(pid+1, 1, "/d")
	}
	h.pass(0)
	h.exec(1, newImage)
	died := h.now
	h.exit(1, 0)
	h.pass(10 * time.Minute)
	h.want("after an exit with status 0", 1)
	r := h.wantPhase("after it", rollout.PhaseHalted)
	code, why := 0, "exit code 0 before it was armed"
	want := []rollout.Halt{{
		UID: 1, Path: "/bin/rag-rat", Reason: "server 1 died: " + why, Since: died, Behind: 9, Next: 2,
		Deaths: []rollout.ServerDeath{{PID: 1, At: died, Detail: why, ExitCode: &code, ExecedAt: died, WorkDir: "/work/1"}},
	}}
	if diff := cmp.Diff(want, r.Halts); diff != "" {
		t.Errorf("the halts differ (-want +got):\n%s", diff)
	}
}

func TestCanary_SessionEndsUnproven_NextGoes(t *testing.T) {
	t.Parallel()
	h := newHost(t, nil)
	for pid := range selector.PID(3) {
		h.start(pid+1, 1, "/d")
	}
	h.pass(0)
	h.exec(1, newImage)
	h.arm(1)
	h.pass(100 * time.Millisecond)
	h.exit(1, 0)
	h.pass(time.Second)
	h.want("after the session of the canary ended", 1, 2)
}

func TestCanary_HangsUnarmed_HaltsGroupUntilArmed(t *testing.T) {
	t.Parallel()
	h := newHost(t, nil)
	h.start(1, 1, "/d")
	h.start(2, 1, "/d")
	h.start(3, 2, "/d") // another user: its own proof
	h.pass(0)
	h.exec(1, newImage)
	h.pass(10 * time.Second)
	h.exec(3, newImage)
	h.exit(3, 0)
	h.pass(armTimeout - 11*time.Second)
	h.want("while the canary hangs", 1, 3)
	h.wantPhase("before the time is over", rollout.PhaseCanary)
	h.pass(2 * time.Second)
	r := h.wantPhase("after two minutes", rollout.PhaseHalted)
	if len(r.Halts) != 2 {
		t.Errorf("the reasons are %v, want one for each user", r.Halts)
	}
	h.arm(1)
	h.pass(300 * time.Millisecond)
	h.want("after it is armed after all", 1, 3, 2)
}

func TestGroup_AnotherOfTheUser_WaitsForHold(t *testing.T) {
	t.Parallel()
	h := newHost(t, nil)
	h.start(1, 1, "/large")
	h.start(2, 1, "/large")
	h.start(3, 1, "/small")
	h.pass(0)
	h.want("first the smallest group", 3)
	h.exec(3, newImage)
	h.arm(3)
	h.pass(1990 * time.Millisecond)
	h.want("before the hold time", 3)
	h.pass(30 * time.Millisecond)
	h.want("after it, a canary of the next group", 3, 1)
	h.exec(1, newImage)
	h.exit(1, exit1)
	h.pass(time.Minute)
	h.want("a proof of one group is none of another", 3, 1)
}

func TestGroup_TimePasses_NeverOpens(t *testing.T) {
	t.Parallel()
	h := newHost(t, nil)
	for pid := range selector.PID(9) {
		h.start(pid+1, 1, "/d")
	}
	h.pass(4990 * time.Millisecond)
	h.want("before the canary's timeout", 1)
	h.pass(20 * time.Millisecond)
	h.want("after it", 1, 2)
	h.pass(10 * time.Second)
	h.want("three at most are unproven", 1, 2, 3)
	h.pass(19 * time.Second)
	h.want("until one has timed out", 1, 2, 3)
	h.exec(2, newImage)
	h.exit(2, exit1)
	h.pass(10 * time.Minute)
	h.want("after a death", 1, 2, 3)
	h.wantPhase("after a death", rollout.PhaseHalted)
}
