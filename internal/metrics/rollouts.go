// SPDX-License-Identifier: MIT

package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ebpf-upgrader/internal/rollout"
)

// rollouts counts the rollouts that have work, as the log tells of them.
type rollouts struct {
	started     prometheus.Counter
	finished    *prometheus.CounterVec
	finishedAt  *prometheus.GaugeVec
	rolloutTook prometheus.Histogram

	// mu guards began, which no scrape reads. began has the rollouts under way, by number, with the time since which a server
	// was outdated. A rollout leaves it at its end, which is reported for each.
	mu    sync.Mutex
	began map[uint64]time.Time
}

func newRollouts() *rollouts {
	return &rollouts{
		started:  counter("rollouts_started_total", "Rollouts that began: an installed file had an outdated server."),
		finished: counters("rollouts_finished_total", "Rollouts that ended, by result. A halted rollout has not ended.", "result"),
		finishedAt: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: namespace, Name: "last_rollout_timestamp_seconds",
			Help: "When a rollout ended last with each result. Absent until one did since the service started.",
		}, []string{"result"}),
		rolloutTook: histogram("rollout_duration_seconds", "Time from the first outdated server of a rollout to its end.", rolloutBuckets()),
		began:       make(map[uint64]time.Time),
	}
}

// superseded is the result of a rollout that ended because another file was installed.
const superseded = "superseded"

// results are the words for the end of a rollout.
func results() []string {
	return []string{string(rollout.PhaseComplete), string(rollout.PhaseFailed), string(rollout.PhaseAbandoned), superseded}
}

func rolloutBuckets() []float64 { return []float64{0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 86400} }

// begin counts a rollout at its first outdated server. One that had ended begins anew.
func (s *rollouts) begin(number uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.began[number].IsZero() {
		s.began[number] = time.Now()
		s.started.Inc()
	}
}

// Rollout implements [controller.Observer].
func (s *rollouts) Rollout(r rollout.Report) {
	result := string(r.Phase)
	switch {
	case r.Superseded:
		result = superseded
	case r.Phase != rollout.PhaseComplete && r.Phase != rollout.PhaseFailed && r.Phase != rollout.PhaseAbandoned:
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	began, isUnderWay := s.began[r.Number]
	if !isUnderWay { // no server was outdated
		return
	}
	delete(s.began, r.Number)
	s.finished.WithLabelValues(result).Inc()
	s.finishedAt.WithLabelValues(result).SetToCurrentTime()
	s.rolloutTook.Observe(time.Since(began).Seconds())
}
