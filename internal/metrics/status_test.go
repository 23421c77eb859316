// SPDX-License-Identifier: MIT

package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/metrics"
	"ebpf-upgrader/internal/rollout"
)

// showing returns metrics of a service with that status.
func showing(status api.Status) *metrics.Metrics {
	m := metrics.New("", "")
	m.Follow(metrics.Sources{Status: func(context.Context) (api.Status, error) { return status, nil }})
	return m
}

func TestStatus_Faults_Shown(t *testing.T) {
	m := showing(api.Status{Paused: true, PausedUsers: make([]api.PausedUser, 2), JournalError: "no space left on device"})
	requireValues(t, scrape(t, m), map[string]string{"paused": "1", "paused_users": "2", "journal_failing": "1", "halted_users": "0"})
	requireAbsent(t, scrape(t, m), "halted_since_timestamp_seconds", "outdated_since_timestamp_seconds")

	m.Follow(metrics.Sources{
		FellBack:   func() bool { return true },
		HistoryErr: func() error { return errors.New("no space left on device") },
		StandsBy:   func(context.Context) (bool, error) { return true, nil },
	})
	requireValues(t, scrape(t, m), map[string]string{"tracker_fallback": "1", "history_failing": "1", "stands_by": "1"})
}

// TestHalts_ManyUsers_EarliestNamed: the series are bounded, and the time is that of the first halt of each user.
func TestHalts_ManyUsers_EarliestNamed(t *testing.T) {
	var status api.Status
	for i := range 40 {
		since := start.Add(time.Duration(i) * time.Second)
		status.Rollouts = append(status.Rollouts, rollout.Report{Halts: []rollout.Halt{
			{UID: uint32(4000 + i), Since: since}, {UID: uint32(4000 + i), Since: since.Add(time.Hour)}, {UID: 4000, Since: since},
		}})
	}
	text := scrape(t, showing(status))
	requireValues(t, text, map[string]string{
		"halted_users": "40",
		`halted_since_timestamp_seconds{uid="4000"}`: fmt.Sprintf("%.9e", float64(start.Unix())),
		`halted_since_timestamp_seconds{uid="4031"}`: fmt.Sprintf("%.9e", float64(start.Unix()+31)),
		`halted_since_timestamp_seconds{uid="4032"}`: "",
	})
	if n := strings.Count(text, "halted_since_timestamp_seconds{"); n != 32 {
		t.Errorf("%d users are named, want 32", n)
	}
}

// TestOutdated_OldestRollout_HasServersLeft: servers that are skipped or upgraded are not waited for.
func TestOutdated_OldestRollout_HasServersLeft(t *testing.T) {
	at := func(hour int, s rollout.State) rollout.Report {
		return rollout.Report{Started: start.Add(time.Duration(hour) * time.Hour), Servers: map[rollout.State]int{s: 1}}
	}
	left := []rollout.Report{at(0, rollout.Skipped), at(1, rollout.Upgraded)}
	requireAbsent(t, scrape(t, showing(api.Status{Rollouts: left})), "outdated_since_timestamp_seconds")
	left = append(left, at(3, rollout.Pending), at(2, rollout.GaveUp))
	requireValues(t, scrape(t, showing(api.Status{Rollouts: left})), map[string]string{
		"outdated_since_timestamp_seconds": fmt.Sprintf("%.9e", float64(start.Add(2*time.Hour).Unix())),
	})
}

func TestScrape_Format_IsNegotiated(t *testing.T) {
	m := metrics.New("", "")
	for accept, want := range map[string]string{
		"": "text/plain; version=0.0.4", "application/openmetrics-text; version=1.0.0": "application/openmetrics-text; version=1.0.0",
	} {
		answer, request := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/metrics", nil)
		request.Header.Set("Accept", accept)
		m.Handler().ServeHTTP(answer, request)
		text, _ := io.ReadAll(answer.Result().Body)
		isOpen := strings.HasSuffix(string(text), "# EOF\n")
		if got := answer.Header().Get("Content-Type"); !strings.HasPrefix(got, want) || isOpen != (accept != "") {
			t.Errorf("Accept %q: %s, ends in EOF: %v; want %s", accept, got, isOpen, want)
		}
		if strings.Contains(string(text), "process_network_") || !strings.Contains(string(text), "process_open_fds") {
			t.Error("the traffic of the host is shown, or nothing of the process")
		}
	}
}
