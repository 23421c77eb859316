// SPDX-License-Identifier: MIT

package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"ebpf-upgrader/internal/api"
)

// staged counts what becomes of staged files, and the crashes that speak against a release after its rollout.
type staged struct {
	activations       *prometheus.CounterVec
	preflights, lates prometheus.Counter
}

func newStaged() *staged {
	s := &staged{
		activations: counters("activations_total", "Activations of staged files that ended, by result. not-placed is a file that could not be put in place.", "result"),
		preflights:  counter("preflight_failures_total", "Staged files that failed when they were run in a cage. They are not put in place."),
		lates:       counter("late_crashes_total", "Upgraded servers that crashed within --late-within."),
	}
	for _, result := range []string{stateProven, stateFailed, notPlaced} {
		s.activations.WithLabelValues(result)
	}
	return s
}

// The states of a staged path, as in [api.Staged], and a result besides.
const (
	stateIdle, stateWanted, stateSeated, stateActivated = "idle", "wanted", "seated", "activated"
	stateBaking, stateProven, stateFailed               = "baking", "proven", "failed"
	notPlaced                                           = "not-placed"
)

// StagedChanged counts the ends of activations. The states are those of [api.Staged].
func (s *staged) StagedChanged(from, to string) {
	switch {
	case from == to:
	case to == stateProven, to == stateFailed:
		s.activations.WithLabelValues(to).Inc()
	case from == stateSeated && to == stateWanted:
		s.activations.WithLabelValues(notPlaced).Inc()
	}
}

// PreflightFailed counts a staged file that failed its check.
func (s *staged) PreflightFailed() { s.preflights.Inc() }

// staged shows the state of each path of --stage, which only root can give.
func (to scraped) staged(all []api.Staged) {
	state := describe("staged", "1 for the state of a path with staged files, which --stage names.", "path", "state")
	since := describe("staged_since_timestamp_seconds", "Since when a path with staged files is in its state.", "path")
	for _, p := range all {
		oneOf(func(word string, value int) {
			to <- prometheus.MustNewConstMetric(state, prometheus.GaugeValue, float64(value), p.Path, word)
		}, p.State, stateIdle, stateWanted, stateSeated, stateActivated, stateBaking, stateProven, stateFailed)
		if !p.Since.IsZero() {
			to <- prometheus.MustNewConstMetric(since, prometheus.GaugeValue, seconds(p.Since), p.Path)
		}
	}
}
