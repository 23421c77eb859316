// SPDX-License-Identifier: MIT

package metrics

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// status shows what the service knows of servers, installs and rollouts.
func (to scraped) status(status api.Status, err error) {
	if err != nil {
		to.failed("rollouts", err)
		return
	}
	to.flag("paused", "1 if an operator paused the service: no server is signalled.", status.Paused)
	to.gauge("paused_users", "Users that an operator paused on their own: their servers are not signalled.", len(status.PausedUsers))
	to.flag("journal_failing", "1 if the journal cannot be written: no server is signalled until it can.", status.JournalError != "")
	servers := to.gauges("servers", "Processes by the verdict of their last inspection. Those that are not-ours, not-mcp or not-selected are not served.", "verdict")
	for _, v := range selector.Verdicts() {
		servers(v.String(), status.Verdicts[v])
	}
	to.installs(status.Installs)
	to.rollouts(status.Rollouts)
	to.halts(status.Rollouts)
}

// installs counts each file once for each of its states: it may be ready for the servers of one user only.
func (to scraped) installs(all []api.InstallStatus) {
	type file struct {
		image selector.Image
		path  string // only where no file is known
		state selector.State
	}
	files := make(map[file]bool)
	for _, i := range all {
		f := file{i.Image, "", i.State}
		if !i.Image.Known() {
			f.path = i.Path
		}
		files[f] = true
	}
	states := make(map[selector.State]int)
	for f := range files {
		states[f.state]++
	}
	installs := to.gauges("installs", "Installed files by state. A file that is ready for one user and unready for another counts as both.", "state")
	for _, s := range []selector.State{selector.StateReady, selector.StateUnready, selector.StateMissing} {
		installs(string(s), states[s])
	}
}

func (to scraped) rollouts(all []rollout.Report) {
	inPhase, inState := make(map[rollout.Phase]int), make(map[rollout.State]int)
	var since time.Time
	for _, r := range all {
		inPhase[r.Phase]++
		for s, n := range r.Servers {
			inState[s] += n
		}
		if r.Behind() > r.Servers[rollout.Skipped] && (since.IsZero() || r.Started.Before(since)) {
			since = r.Started
		}
	}
	phases := to.gauges("rollouts", "Rollouts that are known, by phase: one for each installed file with servers, also when it is over.", "phase")
	for _, p := range rollout.Phases() {
		phases(string(p), inPhase[p])
	}
	states := to.gauges("rollout_servers", "Servers of the rollouts that are known, by state. Servers that have ended are included.", "state")
	for _, s := range rollout.States() {
		states(s.String(), inState[s])
	}
	if !since.IsZero() {
		to.time("outdated_since_timestamp_seconds", "When the oldest rollout began that has servers left to upgrade. Absent if none has.", since)
	}
}

// mostHalted bounds the users that a scrape names.
const mostHalted = 32

// halts names users by their ids only: any process may read the metrics, and a path may be private.
func (to scraped) halts(all []rollout.Report) {
	since := make(map[uint32]time.Time)
	for _, r := range all {
		for _, h := range r.Halts {
			if first, isKnown := since[h.UID]; !isKnown || h.Since.Before(first) {
				since[h.UID] = h.Since
			}
		}
	}
	to.gauge("halted_users", "Users with a rollout that is halted: a server of theirs died, or did not become ready again.", len(since))
	users := slices.SortedFunc(maps.Keys(since), func(a, b uint32) int {
		return cmp.Or(since[a].Compare(since[b]), cmp.Compare(a, b))
	})
	d := describe("halted_since_timestamp_seconds", "When the first rollout was halted for a user that has one halted. The 32 earliest users are shown.", "uid")
	for _, uid := range users[:min(len(users), mostHalted)] {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, seconds(since[uid]), strconv.FormatUint(uint64(uid), 10))
	}
}

func (to scraped) time(name, help string, at time.Time) {
	to <- prometheus.MustNewConstMetric(describe(name, help), prometheus.GaugeValue, seconds(at))
}

// seconds is a time as Prometheus has it.
func seconds(at time.Time) float64 { return float64(at.UnixMilli()) / 1000 }
