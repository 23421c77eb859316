// SPDX-License-Identifier: MIT

package metrics_test

import (
	"maps"
	"testing"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/metrics"
)

func init() {
	maps.Copy(advice, map[string]string{
		"fleet_reached":                         "At 0, run `ebpf-upgrader status`: it says why the engine is out of reach. Hosts with a seat finish meanwhile.",
		"fleet_paused":                          "Nothing: an operator has paused the fleet in its policy.",
		"fleet_halted":                          "Run `ebpf-upgrader fleet`: it names the failed hosts. Stage a good release, or `ebpf-upgrader fleet clear HOST`.",
		"fleet_hosts_done":                      "Nothing: it grows while a release spreads.",
		"fleet_hosts_failed":                    "As `fleet_halted`.",
		"fleet_seats":                           "Nothing. At `slots` of the open wave, other hosts wait.",
		"fleet_waiting_since_timestamp_seconds": "`ebpf-upgrader status` says what the file waits for.",
		"fleet_request_duration_seconds":        "Times near 10 s are calls that are given up. Look at the engine, and at the network to it.",
		"fleet_waiting":                         "`ebpf-upgrader status` says it in words. `unreachable`: as `fleet_reached`. `halted`: as `fleet_halted`. `failed`: as `staged`. `host`: the file is checked, or `status` says what is wrong with it.",
		"fleet_wave":                            "Nothing: it grows while a release spreads. `ebpf-upgrader fleet` names the waves.",
		"fleet_release_info":                    "Nothing. It says which hosts have which release.",
		"fleet_requests_total":                  "`error`: as `fleet_reached`. `conflict`: nothing, another host was quicker.",
	})
}

func TestFleet_Record_IsShown(t *testing.T) {
	m := metrics.New("1.2.3", "abc")
	m.Follow(metrics.Sources{Mode: api.SourceBPF, Fleet: func() api.FleetRecord {
		return api.FleetRecord{
			IsReached: true, IsHalted: true, Done: 9, Seats: 2, Failed: 1, Wave: 1, WaitsSince: start,
			Requests: map[string]map[string]uint64{"swap": {"ok": 1, "conflict": 3}}, Took: map[string]time.Duration{"swap": 1500 * time.Millisecond},
			Waiting: map[string]int{"full": 2, "host": 0}, Releases: map[string]string{"/opt/tool": "9f2c41d0"}, Ring: "east",
		}
	}})
	requireValues(t, scrape(t, m), map[string]string{
		`fleet_reached`: "1", `fleet_paused`: "0", `fleet_halted`: "1", `fleet_hosts_done`: "9", `fleet_seats`: "2",
		`fleet_wave`: "1", `fleet_waiting{reason="full"}`: "2", `fleet_waiting{reason="host"}`: "0",
		`fleet_release_info{path="/opt/tool",release="9f2c41d0",ring="east"}`: "1",
		`fleet_request_duration_seconds_count{kind="swap"}`:                   "4", `fleet_request_duration_seconds_sum{kind="swap"}`: "1.5",
		`fleet_request_duration_seconds_count{kind="load"}`: "0",
		`fleet_hosts_failed`: "1", `fleet_waiting_since_timestamp_seconds`: "1.767323045e+09",
		`fleet_requests_total{kind="swap",result="conflict"}`: "3", `fleet_requests_total{kind="load",result="ok"}`: "0",
	})
}
