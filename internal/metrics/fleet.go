// SPDX-License-Identifier: MIT

package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"ebpf-upgrader/internal/api"
)

// fleet shows what the record of the fleet said when it was read last.
func (to scraped) fleet(r api.FleetRecord) {
	to.flag("fleet_reached", "1 if the engine of the fleet answers. At 0, no staged file is put in place.", r.IsReached)
	to.flag("fleet_paused", "1 if the policy of the fleet holds every host back.", r.IsPaused)
	to.flag("fleet_halted", "1 if too many hosts have failed with the newest release.", r.IsHalted)
	to.gauge("fleet_hosts_done", "Hosts that are done with the newest release, as the record said when it was read last.", r.Done)
	to.gauge("fleet_hosts_failed", "Hosts that have failed with the newest release, or have vanished.", r.Failed)
	to.gauge("fleet_seats", "Hosts that are putting the newest release in place.", r.Seats)
	to.gauge("fleet_wave", "The outermost wave that is open for the newest release, from 0.", r.Wave)
	waiting := to.gauges("fleet_waiting", "Staged files of this host that wait, by reason. host is one that the host has yet to check, or could not put in place.", "reason")
	for reason, n := range r.Waiting {
		waiting(reason, n)
	}
	info := describe("fleet_release_info", "1 for the release that is staged at a path, or was put in place last.", "path", "release", "ring")
	for path, release := range r.Releases {
		to <- prometheus.MustNewConstMetric(info, prometheus.GaugeValue, 1, path, release, r.Ring)
	}
	if !r.WaitsSince.IsZero() {
		to.time("fleet_waiting_since_timestamp_seconds", "When the first staged file of this host began to wait for the fleet. Absent if none waits.", r.WaitsSince)
	}
	d := describe("fleet_requests_total", "Calls of the engine of the fleet, by kind and result.", "kind", "result")
	took := describe("fleet_request_duration_seconds", "Duration of calls of the engine of the fleet, by kind: their sum and their number.", "kind")
	for _, kind := range []string{"load", "swap"} {
		all := uint64(0)
		for _, result := range []string{"ok", "conflict", "error"} {
			all += r.Requests[kind][result]
			to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(r.Requests[kind][result]), kind, result)
		}
		to <- prometheus.MustNewConstSummary(took, all, r.Took[kind].Seconds(), nil, kind)
	}
}
