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
	if !r.WaitsSince.IsZero() {
		to.time("fleet_waiting_since_timestamp_seconds", "When the first staged file of this host began to wait for the fleet. Absent if none waits.", r.WaitsSince)
	}
	d := describe("fleet_requests_total", "Calls of the engine of the fleet, by kind and result.", "kind", "result")
	for _, kind := range []string{"load", "swap"} {
		for _, result := range []string{"ok", "conflict", "error"} {
			to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(r.Requests[kind][result]), kind, result)
		}
	}
}
