// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/stage"
)

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
		Requests: map[string]map[string]uint64{"load": {}, "swap": {}},
	}
	for request, n := range seen.Requests {
		r.Requests[request.Op][request.Result] = uint64(n)
	}
	if all := seen.View.State.Releases; len(all) > 0 {
		newest, p := &all[len(all)-1], &seen.View.Policy
		r.Done, r.Seats, r.Failed = newest.Done, newest.InUse(), len(newest.Failed)
		r.IsHalted = r.Failed >= p.Waves[p.Open(newest.ID, newest, seen.View.Now)].MaxFailed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, path := range s.paths {
		if path.State == stage.Wanted && (r.WaitsSince.IsZero() || path.Since.Before(r.WaitsSince)) {
			r.WaitsSince = path.Since
		}
	}
	return r
}
