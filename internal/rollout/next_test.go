// SPDX-License-Identifier: MIT

package rollout_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// The sessions of one user end again and again while their canaries are unproven. Each is a new canary; only the first one
// delays the other user.
func TestUsers_CanariesEndAgainAndAgain_DelayOnce(t *testing.T) {
	t.Parallel()
	h := newHost(t, nil)
	for pid := range selector.PID(40) {
		h.start(pid+1, 1, fmt.Sprint("/d", pid))
	}
	h.pass(0)
	h.start(100, 2, "/d")
	for range 11 {
		h.exit(h.sent[len(h.sent)-1], 0)
		h.pass(100 * time.Millisecond)
		if slices.Contains(h.sent, 100) {
			break
		}
	}
	if len(h.sent) < 5 || h.sent[len(h.sent)-1] != 100 {
		t.Errorf("after %s these were signalled: %v, want several of one user and 100", h.now.Sub(time.Unix(1000, 0)), h.sent)
	}
}

// crowded has members of one user, each in a group of its own.
func crowded(t testing.TB, members int) *rollout.Rollout {
	t.Helper()
	r := rollout.New(rollout.Config{Limits: rollout.DefaultLimits()}, 1, selector.Install{Image: newImage}, time.Unix(1000, 0))
	for pid := range selector.PID(members) {
		p := selector.Process{
			Identity: selector.Identity{PID: pid + 1}, Image: oldImage, Catches: true, DataDir: fmt.Sprint("/d", pid),
			Credentials: selector.Credentials{Owner: selector.User{UID: 1}},
		}
		r.Observe(p, selector.Decision{Verdict: selector.Outdated, Stale: true}, rollout.RankUsual, time.Unix(1000, 0))
	}
	return r
}

// While a user is halted, a turn costs the same for any number of groups that wait.
func TestNext_HaltedUser_WalksNoGroup(t *testing.T) {
	now := time.Unix(1001, 0)
	cost := func(members int) time.Duration {
		r := crowded(t, members)
		allows := func(*rollout.Member) rollout.Permission { return rollout.Allow }
		ready, _ := r.Next(now, allows)
		r.Sent(ready[0], oldImage, now, now)
		r.Ended(ready[0].PID, selector.Exit{Known: true, Status: 70 << 8}, now)
		best := time.Hour
		for range 50 { // the best of them: other processes run meanwhile
			begin := time.Now()
			for range 100 {
				if ready, wake := r.Next(now, allows); ready != nil || !wake.IsZero() {
					t.Fatalf("Next = %v, %s for a halted user", ready, wake)
				}
			}
			best = min(best, time.Since(begin))
		}
		return best
	}
	if few, many := cost(16), cost(4096); many > 10*few {
		t.Errorf("100 turns take %s with 16 groups, and %s with 4,096", few, many)
	}
}

func BenchmarkNext(b *testing.B) {
	for _, state := range []string{"halted", "awaits-canary"} {
		b.Run(state, func(b *testing.B) {
			r := crowded(b, 4096)
			now := time.Unix(1001, 0)
			allows := func(*rollout.Member) rollout.Permission { return rollout.Allow }
			ready, _ := r.Next(now, allows)
			r.Sent(ready[0], oldImage, now, now)
			if state == "halted" {
				r.Ended(ready[0].PID, selector.Exit{Known: true, Status: 70 << 8}, now)
			}
			for b.Loop() {
				r.Next(now, allows)
			}
		})
	}
}
