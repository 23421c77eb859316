// SPDX-License-Identifier: MIT

package rollout_test

import (
	"testing"
	"time"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// next returns the PIDs that may be signalled now.
func (h *host) next() (pids []selector.PID) {
	ready, _ := h.Next(h.now, h.allows)
	for _, m := range ready {
		pids = append(pids, m.PID)
	}
	return pids
}

func TestSending_CanaryUnderWay_CountsAsSignalled(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*host)
		// users of the servers, and how many may be signalled while the first one is under way.
		users []uint32
		want  int
	}{
		{"another of its user", nil, []uint32{1, 1}, 0},
		{"the next user's canary", nil, []uint32{1, 2}, 0},
		{"one in flight at most", func(h *host) {
			h.cfg.Limits.Canary, h.cfg.Limits.InFlight = 0, rollout.InFlight{Servers: 1}
		}, []uint32{1, 2}, 0},
		{"two in flight at most", func(h *host) {
			h.cfg.Limits.Canary, h.cfg.Limits.InFlight = 0, rollout.InFlight{Servers: 2}
		}, []uint32{1, 2}, 1},
		{"no canaries", func(h *host) { h.cfg.Limits.Canary = 0 }, []uint32{1, 2}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t, c.change)
			for i, user := range c.users {
				h.start(selector.PID(i+1), user, "/data")
			}
			h.now = h.now.Add(time.Minute)
			m := h.Member(1)
			h.Sending(m)
			if got := h.next(); len(got) != c.want {
				t.Errorf("%v may be signalled during the delivery, want %d", got, c.want)
			}
			h.EndSending(m)
			if got := h.next(); len(got) == 0 {
				t.Error("no server may be signalled after a delivery without a signal")
			}
		})
	}
}

func TestSending_OpenGroup_EightAtMost(t *testing.T) {
	h := newHost(t, func(h *host) { h.cfg.Limits.Canary = 0 })
	for pid := range selector.PID(12) {
		h.start(pid+1, 1, "/data")
	}
	h.now = h.now.Add(time.Minute)
	sent := map[selector.PID]bool{}
	for next := h.next(); len(next) > 0; next = h.next() {
		if sent[next[0]] || len(next) != 1 {
			t.Fatalf("%v may be signalled, want another one each time", next)
		}
		sent[next[0]] = true
		h.Sending(h.Member(next[0]))
	}
	if len(sent) != 8 {
		t.Errorf("%d are under way, want 8", len(sent))
	}
}
