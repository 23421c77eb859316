// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/fleet"
	"ebpf-upgrader/internal/stage"
)

// Why a staged file waits, where the fleet has not turned it down: the engine cannot be reached, or this host has yet to check the
// file, or could not put it in place.
const waitsForEngine, waitsForHost = "unreachable", "host"

// fleetSource is what the metrics read of the fleet; nil: there is none. s may be nil.
func (s *staging) fleetSource() func() api.FleetRecord {
	if s == nil || s.fleet == nil {
		return nil
	}
	return s.fleetRecord
}

// fleetRecord is what the record of the fleet said when it was read last.
func (s *staging) fleetRecord() api.FleetRecord {
	seen := s.fleet.Host.Seen()
	r := api.FleetRecord{
		IsReached: !seen.At.IsZero() && seen.Lost.IsZero(), IsPaused: seen.View.Policy.Paused != "",
		Requests: map[string]map[string]uint64{"load": {}, "swap": {}}, Took: seen.Took,
		Waiting: map[string]int{waitsForEngine: 0, waitsForHost: 0}, Ring: s.cfg.Staging.Fleet.Ring, Releases: make(map[string]string),
	}
	for _, reason := range fleet.Reasons() {
		r.Waiting[string(reason)] = 0
	}
	for request, n := range seen.Requests {
		r.Requests[request.Op][request.Result] = uint64(n)
	}
	if all := seen.View.State.Releases; len(all) > 0 {
		newest, p := &all[len(all)-1], &seen.View.Policy
		r.Done, r.Seats, r.Failed = newest.Done, newest.InUse(), len(newest.Failed)
		r.Wave = p.Open(newest.ID, newest, seen.View.Now)
		r.IsHalted = r.Failed >= p.Waves[r.Wave].MaxFailed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, path := range s.paths {
		if path.Release != "" {
			r.Releases[path.Path] = path.Release.Short()
		}
		if path.State != stage.Wanted {
			continue
		}
		if r.WaitsSince.IsZero() || path.Since.Before(r.WaitsSince) {
			r.WaitsSince = path.Since
		}
		if _, isKnown := r.Waiting[path.waits]; isKnown {
			r.Waiting[path.waits]++
		} else { // the gate was not asked, or has granted a seat
			r.Waiting[waitsForHost]++
		}
	}
	return r
}
