// SPDX-License-Identifier: MIT

package metrics_test

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/fleet"
	"ebpf-upgrader/internal/metrics"
	"ebpf-upgrader/internal/rollout"
)

func TestMetrics_Names_PassLinter(t *testing.T) {
	var ours strings.Builder
	for _, line := range everything(t) {
		fmt.Fprintln(&ours, line)
	}
	problems, err := promlint.New(strings.NewReader(ours.String())).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// TestMetrics_Labels_NameNoProcess: there would be as many series as there ever were processes.
func TestMetrics_Labels_NameNoProcess(t *testing.T) {
	allowed := []string{
		"version", "revision", "goversion", "mode", "verdict", "kind", "reason", "outcome", "phase", "state", "le",
		"act", "cause", "result",
		"uid",     // at most 32
		"path",    // those of --stage
		"release", // one for each path
		"ring",    // that of the host
	}
	label := regexp.MustCompile(`[{,](\w+)="`)
	for _, line := range everything(t) {
		for _, found := range label.FindAllStringSubmatch(line, -1) {
			if !slices.Contains(allowed, found[1]) {
				t.Errorf("label %s in %s", found[1], line)
			}
		}
	}
}

// everything is what a scrape says of all metrics of this program, line by line.
func everything(t *testing.T) (lines []string) {
	t.Helper()
	m := metrics.New("1.2.3", "abc")
	serve(m)
	no := func() bool { return false }
	m.Follow(metrics.Sources{
		Mode: api.SourceBPF, Tracker: tracker, FellBack: no,
		Gate:        func() (api.Gate, error) { return api.Gate{}, nil },
		Watching:    func() api.Watching { return api.Watching{} },
		LogDropped:  func() (byReader, byUser uint64) { return 0, 0 },
		HistoryLost: func() uint64 { return 0 },
		HistoryErr:  func() error { return nil },
		Fleet:       func() api.FleetRecord { return fleetRecord() },
		StandsBy:    func(context.Context) (bool, error) { return false, nil },
		Staged:      func() []api.Staged { return []api.Staged{{Path: "/opt/tool", State: "wanted", Since: start}} },
		Status: func(context.Context) (api.Status, error) {
			return api.Status{Rollouts: []rollout.Report{{
				Started: start, Servers: map[rollout.State]int{rollout.Pending: 1}, Halts: []rollout.Halt{{UID: 4101, Since: start}},
			}}}, nil
		},
	})
	for line := range strings.Lines(scrape(t, m)) {
		if strings.Contains(line, "ebpf_upgrader_") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// fleetRecord has each word that a record can have.
func fleetRecord() api.FleetRecord {
	r := api.FleetRecord{WaitsSince: start, Waiting: map[string]int{"host": 0, "unreachable": 0}, Releases: map[string]string{"/opt/tool": "9f2c41d0"}}
	for _, reason := range fleet.Reasons() {
		r.Waiting[string(reason)] = 0
	}
	return r
}
