// SPDX-License-Identifier: MIT

package metrics_test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/metrics"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

func TestStatus_EachScrape_IsFresh(t *testing.T) {
	m := metrics.New("", "")
	status := api.Status{
		Verdicts: map[selector.Verdict]int{selector.Outdated: 3, selector.UpToDate: 2},
		Installs: []api.InstallStatus{
			{Install: of("/a", 1, selector.StateReady)}, {Install: of("/b", 1, selector.StateReady)}, // one file
			{Install: of("/a", 1, selector.StateUnready)}, // for another user
			{Install: of("/a", 2, selector.StateReady)}, {Install: of("/c", 0, selector.StateMissing)}, {Install: of("/d", 0, selector.StateMissing)},
		},
		Rollouts: []rollout.Report{
			{Phase: rollout.PhaseCanary, Servers: map[rollout.State]int{rollout.Pending: 1, rollout.Settling: 1}},
			{Phase: rollout.PhaseCanary, Servers: map[rollout.State]int{rollout.Pending: 1}},
		},
	}
	m.Follow(metrics.Sources{Status: func(context.Context) (api.Status, error) { return status, nil }})
	want := make(map[string]string)
	for _, v := range selector.Verdicts() {
		want[fmt.Sprintf("servers{verdict=%q}", v)] = "0"
	}
	for _, p := range rollout.Phases() {
		want[fmt.Sprintf("rollouts{phase=%q}", string(p))] = "0"
	}
	for _, s := range rollout.States() {
		want[fmt.Sprintf("rollout_servers{state=%q}", s)] = "0"
	}
	maps.Copy(want, map[string]string{
		`servers{verdict="outdated"}`:       "3",
		`servers{verdict="up-to-date"}`:     "2",
		`rollouts{phase="canary"}`:          "2",
		`installs{state="ready"}`:           "2",
		`installs{state="unready"}`:         "1",
		`installs{state="missing"}`:         "2",
		`rollout_servers{state="pending"}`:  "2",
		`rollout_servers{state="settling"}`: "1",
	})
	requireValues(t, scrape(t, m), want)

	status = api.Status{Rollouts: []rollout.Report{{Phase: rollout.PhaseComplete}}}
	requireValues(t, scrape(t, m), map[string]string{
		`servers{verdict="outdated"}`:      "0",
		`rollouts{phase="canary"}`:         "0",
		`rollouts{phase="complete"}`:       "1",
		`rollout_servers{state="pending"}`: "0",
	})
}

// of is an install with the file of that inode; 0: without a file.
func of(path string, inode uint64, state selector.State) selector.Install {
	i := selector.Install{Path: path, State: state}
	if inode > 0 {
		i.Image = selector.Image{Dev: 1, Ino: inode}
	}
	return i
}

func TestWatching_Scrape_Shown(t *testing.T) {
	m := metrics.New("", "")
	m.Follow(metrics.Sources{Watching: func() api.Watching {
		return api.Watching{Installs: 1, Watches: 2, Polled: 3, Stuck: 4, Refused: 5, Overflows: 6}
	}})
	requireValues(t, scrape(t, m), map[string]string{
		"watched_installs": "1", "inotify_watches": "2", "polled_installs": "3", "stuck_lookups": "4",
		"refused_watches_total": "5", "inotify_overflows_total": "6",
	})
}

func TestTracker_Present_Shown(t *testing.T) {
	m := metrics.New("", "")
	requireAbsent(t, scrape(t, m), trackerNames...)
	requireValues(t, scrape(t, m), map[string]string{`tracker_mode{mode="bpf"}`: "0", `tracker_mode{mode="proc"}`: "0"})

	m.Follow(metrics.Sources{Mode: api.SourceBPF, Tracker: tracker})
	requireValues(t, scrape(t, m), map[string]string{
		`tracker_mode{mode="bpf"}`:                        "1",
		`tracker_mode{mode="proc"}`:                       "0",
		`tracker_map_entries`:                             "1",
		`tracker_map_capacity`:                            "2",
		`tracker_losses_total{kind="map-full"}`:           "3",
		`tracker_losses_total{kind="ring-full"}`:          "4",
		`tracker_losses_total{kind="missed"}`:             "5",
		`tracker_unreadable_args_total`:                   "6",
		`tracker_resyncs_total`:                           "7",
		`tracker_audit_differences_total{kind="missing"}`: "8",
		`tracker_audit_differences_total{kind="extra"}`:   "9",
	})

	m.Follow(metrics.Sources{Mode: api.SourceProc})
	requireAbsent(t, scrape(t, m), trackerNames...)
	requireValues(t, scrape(t, m), map[string]string{
		`tracker_mode{mode="bpf"}`:                                "0",
		`tracker_mode{mode="proc"}`:                               "1",
		`promhttp_metric_handler_errors_total{cause="gathering"}`: "0",
	})
}

var trackerNames = []string{
	"tracker_map_entries", "tracker_map_capacity", "tracker_losses_total", "tracker_unreadable_args_total",
	"tracker_resyncs_total", "tracker_audit_differences_total",
}

func tracker() (api.Tracker, error) {
	return api.Tracker{
		Entries: 1, Capacity: 2, LostMapFull: 3, LostRingFull: 4, Missed: 5,
		UnreadableArgs: 6, Resyncs: 7, AuditMissing: 8, AuditExtra: 9,
	}, nil
}

// TestScrape_ReadFails_OthersShown: a service that does not answer costs a scrape one second, and only
// the metrics that it would have answered for.
func TestScrape_ReadFails_OthersShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := metrics.New("", "")
		m.Follow(metrics.Sources{
			Tracker: func() (api.Tracker, error) { return api.Tracker{}, errOther },
			Status: func(ctx context.Context) (api.Status, error) {
				<-ctx.Done()
				return api.Status{}, ctx.Err()
			},
		})
		m.Trouble(errOther)
		before := time.Now()
		text := scrape(t, m)
		if took := time.Since(before); took != time.Second {
			t.Errorf("the scrape took %v, want 1s", took)
		}
		requireValues(t, text, map[string]string{"errors_total": "1"})
		requireAbsent(t, text, append(trackerNames, "servers", "rollouts", "rollout_servers")...)
		again := scrape(t, m)
		if want := `promhttp_metric_handler_errors_total{cause="gathering"} 1`; !strings.Contains(again, want) {
			t.Errorf("the next scrape lacks %q", want)
		}
	})
}

// TestScrape_SlowStatus_DelaysNoObserver: the service tells the observer something before it answers.
func TestScrape_SlowStatus_DelaysNoObserver(t *testing.T) {
	m := metrics.New("", "")
	requests := make(chan chan api.Status)
	m.Follow(metrics.Sources{Status: func(ctx context.Context) (api.Status, error) {
		answer := make(chan api.Status)
		select {
		case requests <- answer:
			return <-answer, nil
		case <-ctx.Done():
			return api.Status{}, ctx.Err()
		}
	}})
	go func() {
		for answer := range requests {
			serve(m)
			answer <- api.Status{Rollouts: []rollout.Report{{Phase: rollout.PhaseRolling}}}
		}
	}()
	var scrapes sync.WaitGroup
	for range 8 {
		scrapes.Go(func() {
			requireValues(t, scrape(t, m), map[string]string{`rollouts{phase="rolling"}`: "1"})
		})
	}
	scrapes.Wait()
	close(requests)
	m.Follow(metrics.Sources{Tracker: tracker})
	text := scrape(t, m)
	requireAbsent(t, text, "servers", "rollouts", "rollout_servers")
	requireValues(t, text, map[string]string{`errors_total`: "8", `tracker_map_entries`: "1"})
}
