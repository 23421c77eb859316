// SPDX-License-Identifier: MIT

package metrics_test

import (
	"fmt"
	"testing"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/metrics"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/internal/stage"
)

// TestStaged_EachState_IsShown: the words are those of the state machine.
func TestStaged_EachState_IsShown(t *testing.T) {
	for _, now := range stage.States() {
		m := metrics.New("", "")
		m.Follow(metrics.Sources{Staged: func() []api.Staged {
			return []api.Staged{{Path: "/opt/tool", State: string(now), Since: start}}
		}})
		want := map[string]string{
			`staged_since_timestamp_seconds{path="/opt/tool"}`: fmt.Sprintf("%.9e", float64(start.Unix())),
		}
		for _, s := range stage.States() {
			want[fmt.Sprintf(`staged{path="/opt/tool",state="%s"}`, s)] = map[bool]string{true: "1", false: "0"}[s == now]
		}
		requireValues(t, scrape(t, m), want)
	}
	requireAbsent(t, scrape(t, metrics.New("", "")), "staged{", "staged_since_timestamp_seconds")
}

func TestStaged_Changes_AreCounted(t *testing.T) {
	m := metrics.New("", "")
	for _, change := range [][2]stage.State{
		{stage.Idle, stage.Wanted},
		{stage.Wanted, stage.Seated},
		{stage.Seated, stage.Wanted},
		{stage.Seated, stage.Activated},
		{stage.Activated, stage.Baking},
		{stage.Baking, stage.Proven},
		{stage.Proven, stage.Failed},
		{stage.Failed, stage.Failed},
	} {
		m.StagedChanged(string(change[0]), string(change[1]))
	}
	m.PreflightFailed()
	m.Moved(rollout.Member{State: rollout.Exited, Late: true}, rollout.Upgraded)
	m.Moved(rollout.Member{State: rollout.Exited}, rollout.Upgraded)
	requireValues(t, scrape(t, m), map[string]string{
		`activations_total{result="proven"}`: "1", `activations_total{result="failed"}`: "1", `activations_total{result="not-placed"}`: "1",
		"preflight_failures_total": "1", "late_crashes_total": "1",
	})
}
