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
	if r := h.wantPhase("before the signal", rollout.PhaseCanary); r.From.Version != "1.0" || !r.LastOutcome.IsZero() {
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

// TestReport_Restarted_SaysFromWhat before the next signal: the members that are left know it.
func TestReport_Restarted_SaysFromWhat(t *testing.T) {
	t.Parallel()
	h := newHost(t, nil)
	h.start(1, 7, "/d")
	h.start(2, 7, "/d")
	h.pass(0)
	h.exec(1, newImage)
	h.again()
	if r := h.wantPhase("after a restart", rollout.PhaseCanary); r.From.Image != oldImage {
		t.Errorf("after a restart: from %+v, want %s", r.From, oldImage)
	}
}

// TestReport_PausedWhenOver_StaysComplete: a pause holds up servers that are left only.
func TestReport_PausedWhenOver_StaysComplete(t *testing.T) {
	t.Parallel()
	h := newHost(t, nil)
	h.start(1, 7, "/d")
	if r := h.Report(true); r.Phase != rollout.PhasePaused {
		t.Errorf("with a pending server the rollout is %s", r.Phase)
	}
	h.pass(0)
	h.exec(1, newImage)
	h.arm(1)
	h.pass(5 * time.Second)
	if r := h.Report(true); r.Phase != rollout.PhaseComplete {
		t.Errorf("with all servers upgraded the rollout is %s", r.Phase)
	}
}
