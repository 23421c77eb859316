// SPDX-License-Identifier: MIT

// Package metrics shows what the service does as Prometheus metrics.
package metrics

import (
	"errors"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

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

	events, rounds, refused, outcomes, deaths, acts *prometheus.CounterVec
	sent, overran, errors                           prometheus.Counter
	roundTook, scanTook, upgradeTook, waited        prometheus.Histogram

	*rollouts
	*staged
}

// New returns metrics in a registry of their own, with those of the Go runtime and of this process.
func New(version, revision string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		current:  &current{},

		events:   counters("kernel_events_total", "Events that the kernel program reported, by kind. The scan has no events.", "kind"),
		rounds:   counters("rounds_total", "Inspections of all servers, or of some, by what caused them.", "reason"),
		refused:  counters("signals_refused_total", "Servers that were due for the signal and were not sent it, by reason.", "reason"),
		outcomes: counters("upgrades_total", "Ends of attempts to upgrade a server, by outcome.", "outcome"),
		deaths:   counters("deaths_total", "Servers that died in a rollout, by how they ended.", "cause"),
		acts:     counters("acts_total", "Requests of operators, by kind.", "act"),

		sent:    counter("signals_sent_total", "Signals that the service sent to servers."),
		overran: counter("signals_busy_total", "Signals to servers that were still busy after the longest wait for a quiet moment."),
		errors:  counter("errors_total", "Errors after which the service went on: a scan, an audit or a read of the gate failed."),

		roundTook:   histogram("round_duration_seconds", "Duration of inspections of all servers, or of some.", inspectionBuckets()),
		scanTook:    histogram("scan_duration_seconds", "Duration of scans of /proc.", inspectionBuckets()),
		upgradeTook: histogram("upgrade_duration_seconds", "Time from the signal to the exec of the server.", upgradeBuckets()),
		waited:      histogram("quiet_wait_seconds", "Time that a busy server was waited for before it was signalled.", waitBuckets()),
		rollouts:    newRollouts(),
		staged:      newStaged(),
	}
	m.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		buildInfo(version, revision), m.current,
		m.events, m.rounds, m.refused, m.outcomes, m.deaths, m.acts, m.sent, m.overran, m.errors,
		m.roundTook, m.scanTook, m.upgradeTook, m.waited, m.started, m.finished, m.finishedAt, m.rolloutTook,
		m.activations, m.preflights, m.lates,
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
	for _, cause := range []string{execFailed, exitCode, bySignal, unknownEnd} {
		m.deaths.WithLabelValues(cause)
	}
	for _, result := range results() {
		m.finished.WithLabelValues(result)
	}
}

// Handler serves the metrics as text or, where the client asks for it, as OpenMetrics. Those that cannot be read at a
// scrape are left out of it, and counted by promhttp_metric_handler_errors_total.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(prometheus.GathererFunc(m.gather), promhttp.HandlerOpts{
		ErrorHandling:     promhttp.ContinueOnError,
		Registry:          m.registry,
		EnableOpenMetrics: true,
	})
}

// gather leaves out the traffic of the network namespace, which the collector of processes counts as that of the process.
func (m *Metrics) gather() ([]*dto.MetricFamily, error) {
	all, err := m.registry.Gather()
	return slices.DeleteFunc(all, func(f *dto.MetricFamily) bool {
		return strings.HasPrefix(f.GetName(), "process_network_")
	}), err
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

// Moved implements [controller.Observer].
func (m *Metrics) Moved(member rollout.Member, from rollout.State) {
	if member.State == from { // another verdict, or another exec
		return
	}
	if member.Late {
		m.lates.Inc()
	}
	switch member.State {
	case rollout.Pending:
		m.begin(member.Rollout)
	case rollout.Signalled:
		m.begin(member.Rollout)
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
		if member.State == rollout.Crashed {
			m.deaths.WithLabelValues(causeOf(member.Exit())).Inc()
		}
	}
}

// The ways in which a server dies.
const (
	execFailed = "exec-failed"
	exitCode   = "exit-code"
	bySignal   = "signal"
	unknownEnd = "unknown"
)

func causeOf(e selector.Exit) string {
	code, hasExited := e.Code()
	switch {
	case !e.Known:
		return unknownEnd
	case !hasExited:
		return bySignal
	case code == rollout.CodeExecFailed:
		return execFailed
	}
	return exitCode
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
func (m *Metrics) Trouble(error) { m.errors.Inc() }

// Acted counts a request of an operator. act is a word of the program, never of a client.
func (m *Metrics) Acted(act string) { m.acts.WithLabelValues(act).Inc() }

func buildInfo(version, revision string) prometheus.Collector {
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info", Help: "1, with the version of the service and what it was built from.",
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
