// SPDX-License-Identifier: MIT

package metrics_test

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/metrics"
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
	m.Follow(metrics.Sources{
		Mode: api.SourceBPF, Tracker: tracker,
		Gate:        func() (api.Gate, error) { return api.Gate{}, nil },
		Watching:    func() api.Watching { return api.Watching{} },
		LogDropped:  func() (byReader, byUser uint64) { return 0, 0 },
		HistoryLost: func() uint64 { return 0 },
		Status:      func(context.Context) (api.Status, error) { return api.Status{}, nil },
	})
	names := make(map[string]bool)
	for text := bufio.NewScanner(strings.NewReader(scrape(t, m))); text.Scan(); {
		if strings.Contains(text.Text(), "ebpf_upgrader_") {
			lines = append(lines, text.Text())
		}
		if name, is := strings.CutPrefix(text.Text(), "# TYPE ebpf_upgrader_"); is {
			name, _, _ = strings.Cut(name, " ")
			names[name] = true
		}
	}
	if want := 37; len(names) != want {
		t.Errorf("%d metrics, want %d: %v", len(names), want, slices.Sorted(maps.Keys(names)))
	}
	return lines
}
