// SPDX-License-Identifier: MIT

package rollout_test

import (
	"testing"
	"time"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// TestReport_Upgraded_SaysFromWhatAndWhen keeps both when a session ends later.
func TestReport_Upgraded_SaysFromWhatAndWhen(t *testing.T) {
	t.Parallel()
	h := newHost(t, func(h *host) {
		h.cfg.BuildOf = func(i selector.Image) selector.Build {
			return map[selector.Image]selector.Build{oldImage: {Version: "1.0"}, newImage: {Version: "1.1"}}[i]
		}
	})
	h.start(1, 7, "/d")
	if r := h.wantPhase("before the signal", rollout.PhaseCanary); r.From.Known() || !r.LastOutcome.IsZero() {
		t.Errorf("before the signal: from %+v, last outcome %s", r.From, r.LastOutcome)
	}
	h.pass(0)
	h.exec(1, newImage)
	h.arm(1)
	h.pass(5 * time.Second)
	first := h.wantPhase("after the upgrade", rollout.PhaseComplete)
	if first.From.Image != oldImage || first.From.Version != "1.0" || first.LastOutcome.IsZero() || first.Servers[rollout.Upgraded] != 1 {
		t.Errorf("after the upgrade: %+v", first)
	}
	h.pass(time.Minute)
	h.exit(1, 0)
	if r := h.wantPhase("after the end", rollout.PhaseComplete); !r.LastOutcome.Equal(first.LastOutcome) {
		t.Errorf("the end of the session moved the last outcome from %s to %s", first.LastOutcome, r.LastOutcome)
	}
}
