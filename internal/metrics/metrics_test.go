// SPDX-License-Identifier: MIT

package metrics_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/controller"
	"ebpf-upgrader/internal/metrics"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

var (
	errOther = errors.New("no such process")
	start    = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
)

func TestObserver_Events_Counted(t *testing.T) {
	m := metrics.New("1.2.3", "abc")
	serve(m)
	requireValues(t, scrape(t, m), map[string]string{
		`build_info{goversion="` + runtime.Version() + `",revision="abc",version="1.2.3"}`: "1",

		`rounds_total{reason="install"}`: "2",
		`rounds_total{reason="scan"}`:    "1",
		`rounds_total{reason="trigger"}`: "0",
		`round_duration_seconds_count`:   "2", // one inspected no process
		`round_duration_seconds_sum`:     "0.75",
		`scan_duration_seconds_count`:    "1",
		`scan_duration_seconds_sum`:      "0.125",

		`kernel_events_total{kind="exec"}`:   "2",
		`kernel_events_total{kind="signal"}`: "1",
		`kernel_events_total{kind="lost"}`:   "0",

		`signals_sent_total`:      "2",
		`errors_total`:            "1",
		`acts_total{act="pause"}`: "1",

		`rollouts_started_total`:                       "2",
		`rollouts_finished_total{result="complete"}`:   "1",
		`rollouts_finished_total{result="superseded"}`: "1",
		`rollouts_finished_total{result="failed"}`:     "0",
		`rollout_duration_seconds_count`:               "2",

		`deaths_total{cause="exit-code"}`: "0",
		`deaths_total{cause="unknown"}`:   "1",

		`signals_refused_total{reason="not-permitted"}`:      "2",
		`signals_refused_total{reason="signalled-by-other"}`: "1",
		`signals_refused_total{reason="other"}`:              "1",

		`upgrades_total{outcome="upgraded"}`:  "1",
		`upgrades_total{outcome="crashed"}`:   "1",
		`upgrades_total{outcome="exited"}`:    "1",
		`upgrades_total{outcome="timed-out"}`: "1",
		`upgrades_total{outcome="gave-up"}`:   "0",

		`upgrade_duration_seconds_count`:             "2",
		`upgrade_duration_seconds_sum`:               "2",
		`upgrade_duration_seconds_bucket{le="0.01"}`: "1",
		`upgrade_duration_seconds_bucket{le="1"}`:    "1",
		`upgrade_duration_seconds_bucket{le="2.5"}`:  "2",
		`upgrade_duration_seconds_bucket{le="60"}`:   "2",
	})
}

func TestObserver_WaitsForQuiet_AreCounted(t *testing.T) {
	m := metrics.New("1.2.3", "abc")
	idle := rollout.Member{PID: 7}
	busy := rollout.Member{PID: 8, Waited: rollout.Seconds(700 * time.Millisecond)}
	late := rollout.Member{PID: 9, Waited: rollout.Seconds(5 * time.Second), Overran: true}
	byOther := rollout.Member{PID: 10, Waited: rollout.Seconds(time.Second), Overran: true, ByOther: true}
	for _, member := range []rollout.Member{idle, busy, late, byOther} {
		move(m, member, 0, rollout.Pending, rollout.Signalled)
	}
	requireValues(t, scrape(t, m), map[string]string{
		`quiet_wait_seconds_count`: "3",
		`quiet_wait_seconds_sum`:   "5.7",
		`signals_busy_total`:       "1",
	})
}

// serve tells m what a service would, in part what must not count.
func serve(m *metrics.Metrics) {
	var observer controller.Observer = m
	observer.Round(api.ReasonInstall, api.Report{}, 0)
	observer.Rollout(rollout.Report{Phase: rollout.PhaseIdle})
	first := rollout.Report{Number: 4, Phase: rollout.PhaseCanary}
	observer.Rollout(first)
	observer.Round(api.ReasonInstall, api.Report{}, 250*time.Millisecond)
	observer.Round(api.ReasonScan, api.Report{}, 500*time.Millisecond)
	m.Scanned(125 * time.Millisecond)

	asked := rollout.Member{PID: 7, Rollout: 4, SignalledAt: start, Since: start}
	move(m, asked, 0, rollout.Skipped, rollout.Skipped, rollout.Pending, rollout.Signalled)
	m.Event(selector.EventExec)
	move(m, asked, 2*time.Second, rollout.Signalled, rollout.Settling)
	m.Event(selector.EventExec)
	move(m, asked, 30*time.Second, rollout.Settling, rollout.Settling, rollout.Upgraded, rollout.None)
	move(m, asked, time.Minute, rollout.Pending, rollout.Signalled, rollout.TimedOut, rollout.Exited)

	m.Event(selector.EventSignal)
	byOther := asked
	byOther.ByOther = true
	move(m, byOther, 0, rollout.Pending, rollout.Signalled)
	// The clock was set back.
	move(m, byOther, -time.Hour, rollout.Signalled, rollout.Settling, rollout.Crashed)

	observer.Refused(asked, unix.EPERM)
	observer.Refused(asked, fmt.Errorf("send: %w", unix.EPERM))
	observer.Refused(byOther, selector.ErrSignalledByOther)
	observer.Refused(asked, errOther)
	observer.Trouble(errOther)
	m.Acted("pause")

	for _, phase := range []rollout.Phase{rollout.PhaseRolling, rollout.PhaseHalted, rollout.PhaseComplete, rollout.PhaseComplete} {
		first.Phase = phase
		observer.Rollout(first)
	}
	move(m, asked, time.Hour, rollout.None, rollout.Pending) // an outdated server has started
	first.Superseded = true
	observer.Rollout(first)
	observer.Rollout(first)
	observer.Rollout(rollout.Report{Number: 5, Phase: rollout.PhaseComplete}) // no server was outdated
}

// move tells of a way through states, all but the first entered at the time after start.
func move(m *metrics.Metrics, member rollout.Member, after time.Duration, states ...rollout.State) {
	member.Since = start.Add(after)
	for i, to := range states[1:] {
		member.State = to
		m.Moved(member, states[i])
	}
}

func scrape(t *testing.T, m *metrics.Metrics) string {
	t.Helper()
	answer := httptest.NewRecorder()
	m.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	text, err := io.ReadAll(answer.Result().Body)
	if err != nil || answer.Code != 200 {
		t.Errorf("scrape: status %d, error %v: %s", answer.Code, err, text)
	}
	return string(text)
}

// requireValues compares the samples with these names, which lack the prefix of all.
func requireValues(t *testing.T, text string, want map[string]string) {
	t.Helper()
	got := make(map[string]string)
	for line := range strings.Lines(text) {
		if name, value, is := strings.Cut(strings.TrimSpace(line), " "); is {
			got[strings.TrimPrefix(name, "ebpf_upgrader_")] = value
		}
	}
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s is %q, want %q", name, got[name], value)
		}
	}
}

func requireAbsent(t *testing.T, text string, names ...string) {
	t.Helper()
	for _, name := range names {
		if strings.Contains(text, "# TYPE ebpf_upgrader_"+name+" ") {
			t.Errorf("%s is there", name)
		}
	}
}
