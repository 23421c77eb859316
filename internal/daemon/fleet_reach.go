// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"context"
	"math/rand/v2"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/fleet"
	"ebpf-upgrader/internal/rollout"
)

// lostReported is how long an engine is out of reach before the log says so.
const lostReported = time.Minute

// touch is what is known of the engine beside its answers to the paths. It belongs to the goroutine of run.
type touch struct {
	// at is when the engine is tried next, and tries how often it could not be reached.
	at    time.Time
	tries int
	// isReported says that the log has said that the engine is out of reach.
	isReported bool
}

// reach tries the engine at the start and as long as it is not reached, whether or not a path has to ask it: a fault shows before
// a release is staged, and its end is seen. It returns when it tries again; zero: not at all.
func (s *staging) reach(ctx context.Context) time.Time {
	if s.fleet == nil {
		return time.Time{}
	}
	t, h := &s.touch, s.fleet.Host
	isPoked := s.poked()
	if seen := h.Seen(); isPoked || (seen.At.IsZero() || !seen.Lost.IsZero()) && !time.Now().Before(t.at) {
		called, cancel := context.WithTimeout(ctx, gateTimeout)
		_, err := h.Read(called)
		cancel()
		if err != nil && ctx.Err() == nil {
			t.tries++
			t.at = time.Now().Add(fleet.Retry(t.tries, rand.Float64()))
		}
	}
	seen := h.Seen()
	isLost := !seen.Lost.IsZero()
	switch {
	case isLost && !t.isReported && time.Since(seen.Lost) >= lostReported:
		t.isReported = true
		fleetLost.to(s.cfg.Log, keyEngine.of(s.fleet.Engine), keyError.of(seen.Problem))
		s.feed.Fleet("out of reach: " + seen.Problem)
	case !isLost && t.isReported:
		fleetReached.to(s.cfg.Log, keyEngine.of(s.fleet.Engine))
		s.feed.Fleet("reached again")
	}
	if !isLost {
		*t = touch{}
		return time.Time{}
	}
	return t.at
}

// poked takes the word of an operator that the host asks now: an answer on its way when they said so does not count.
func (s *staging) poked() (isPoked bool) {
	s.change(func() {
		isPoked, s.isPoked = s.isPoked, false
		for _, p := range s.paths {
			if isPoked {
				p.askAt, p.tries = time.Time{}, 0
			}
		}
	})
	return isPoked
}

// Fleet says what is known of the fleet; nil: an operator decides.
func (s *staging) Fleet() *api.Fleet {
	if s.fleet == nil {
		return nil
	}
	seen, c := s.fleet.Host.Seen(), s.cfg.Staging.Fleet
	return &api.Fleet{
		Engine: c.Engine, ID: s.fleet.Host.ID(), Name: c.Name, Ring: c.Ring, OpenAfter: rollout.Seconds(c.OpenAfter),
		Reached: seen.At, LostSince: seen.Lost, Problem: seen.Problem,
	}
}
