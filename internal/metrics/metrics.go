// SPDX-License-Identifier: MIT

// Package metrics shows what the service does as Prometheus metrics.
package metrics

import (
	"errors"
	"net/http"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

const namespace = "ebpf_upgrader"

// Metrics counts what it observes as a [controller.Observer], and reads the rest at each scrape. Its methods may be called
// concurrently. None of them waits for a scrape, so the service never does.
type Metrics struct {
	registry *prometheus.Registry
	current  *current

	events, rounds, refused, outcomes *prometheus.CounterVec
	sent, overran, installs, troubles prometheus.Counter
	roundTook, scanTook, upgradeTook  prometheus.Histogram
	waited                            prometheus.Histogram
	// number is that of the latest rollout that was counted.
	number atomic.Uint64
}

// New returns metrics in a registry of their own, with those of the Go runtime and of this process.
func New(version, revision string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		current:  &current{},

		events:   counters("events_total", "Events that the kernel reported, by kind.", "kind"),
		rounds:   counters("rounds_total", "Rounds over all servers, or over some, by reason.", "reason"),
		refused:  counters("signals_refused_total", "Servers that were due but not signalled, by reason.", "reason"),
		outcomes: counters("upgrades_total", "Servers that reached a state that ends an attempt or a rollout for them.", "outcome"),

		sent:     counter("signals_sent_total", "Signals that this program sent to servers."),
		overran:  counter("signals_busy_total", "Signals to servers that were still busy after the longest wait for a quiet moment."),
		installs: counter("install_changes_total", "Installs for which a rollout began, that at the start included."),
		troubles: counter("troubles_total", "Errors after which the service went on."),

		roundTook:   histogram("round_duration_seconds", "Duration of rounds over all servers, or over some.", inspectionBuckets()),
		scanTook:    histogram("scan_duration_seconds", "Duration of scans of /proc.", inspectionBuckets()),
		upgradeTook: histogram("upgrade_duration_seconds", "From the signal to the server's exec.", upgradeBuckets()),
		waited:      histogram("quiet_wait_seconds", "How long servers that could be signalled were waited for because they were busy.", waitBuckets()),
	}
	m.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		buildInfo(version, revision), m.current,
		m.events, m.rounds, m.refused, m.outcomes, m.sent, m.overran, m.installs, m.troubles,
		m.roundTook, m.scanTook, m.upgradeTook, m.waited,
	)
	m.showZeros()
	return m
}

// inspectionBuckets go from one server to a machine with many thousands of processes.
func inspectionBuckets() []float64 {
	return []float64{0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10}
}

func upgradeBuckets() []float64 {
	return []float64{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60}
}

// The first bucket of waitBuckets is for idle servers.
func waitBuckets() []float64 { return []float64{0, 0.1, 0.25, 0.5, 1, 1.5, 2, 3, 5} }

// The reasons for which a signal is refused.
const (
	notPermitted     = "not-permitted"
	signalledByOther = "signalled-by-other"
	otherReason      = "other"
)

// outcomes are the states that [Metrics.Moved] counts.
func outcomes() []rollout.State {
	return []rollout.State{rollout.Upgraded, rollout.TimedOut, rollout.GaveUp, rollout.Crashed, rollout.Exited}
}

// showZeros makes every count present before it is first raised: rate() does not see a first rise
// from nothing.
func (m *Metrics) showZeros() {
	for _, kind := range selector.EventKinds() {
		m.events.WithLabelValues(kind.String())
	}
	for _, reason := range api.Reasons() {
		m.rounds.WithLabelValues(string(reason))
	}
	for _, reason := range []string{notPermitted, signalledByOther, otherReason} {
		m.refused.WithLabelValues(reason)
	}
	for _, state := range outcomes() {
		m.outcomes.WithLabelValues(state.String())
	}
}

// Handler serves the metrics. Those that cannot be had at a scrape are left out of it, and counted by
// promhttp_metric_handler_errors_total.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError,
		Registry:      m.registry,
	})
}

// Event counts an event of the tracker.
func (m *Metrics) Event(kind selector.EventKind) { m.events.WithLabelValues(kind.String()).Inc() }

// Scanned counts a scan of /proc and its duration.
func (m *Metrics) Scanned(took time.Duration) { m.scanTook.Observe(took.Seconds()) }

// Round implements [controller.Observer].
func (m *Metrics) Round(reason api.Reason, report api.Report, took time.Duration) {
	m.rounds.WithLabelValues(string(reason)).Inc()
	if took > 0 { // else no process was inspected
		m.roundTook.Observe(took.Seconds())
	}
}

// Rollout implements [controller.Observer].
func (m *Metrics) Rollout(r rollout.Report) {
	if r.Number == 0 || r.Superseded {
		return
	}
	if r.Number > m.number.Load() { // the service reports one after the other
		m.number.Store(r.Number)
		m.installs.Inc()
	}
}

// Moved implements [controller.Observer].
func (m *Metrics) Moved(member rollout.Member, from rollout.State) {
	if member.State == from { // another verdict, or another exec
		return
	}
	switch member.State {
	case rollout.Signalled:
		if !member.ByOther {
			m.sent.Inc()
			m.waited.Observe(time.Duration(member.Waited).Seconds())
			if member.Overran {
				m.overran.Inc()
			}
		}
	case rollout.Settling:
		if !member.SignalledAt.IsZero() {
			// The signal may be from before a restart, and the clock may have been set since.
			m.upgradeTook.Observe(max(0, member.Since.Sub(member.SignalledAt)).Seconds())
		}
	case rollout.Upgraded, rollout.TimedOut, rollout.GaveUp, rollout.Crashed, rollout.Exited:
		m.outcomes.WithLabelValues(member.State.String()).Inc()
	}
}

// Refused implements [controller.Observer].
func (m *Metrics) Refused(_ rollout.Member, err error) {
	reason := otherReason
	switch {
	case errors.Is(err, syscall.EPERM):
		reason = notPermitted
	case errors.Is(err, selector.ErrSignalledByOther):
		reason = signalledByOther
	}
	m.refused.WithLabelValues(reason).Inc()
}

// Trouble implements [controller.Observer].
func (m *Metrics) Trouble(error) { m.troubles.Inc() }

func buildInfo(version, revision string) prometheus.Collector {
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info", Help: "1, with what this program was built from.",
		ConstLabels: prometheus.Labels{"version": version, "revision": revision, "goversion": runtime.Version()},
	})
	info.Set(1)
	return info
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help})
}

func counters(name, help, label string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(
		prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, []string{label})
}

func histogram(name, help string, buckets []float64) prometheus.Histogram {
	return prometheus.NewHistogram(
		prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets})
}
