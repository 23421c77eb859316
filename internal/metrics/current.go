// SPDX-License-Identifier: MIT

package metrics

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ebpf-upgrader/internal/api"
)

// statusTimeout bounds how long a scrape waits for the service, which answers between two steps.
const statusTimeout = time.Second

// Sources are read at each scrape, by any goroutine. The metrics of a source that is nil are absent.
type Sources struct {
	// Mode says where the candidates come from.
	Mode     api.Source
	Tracker  func() (api.Tracker, error)
	Gate     func() (api.Gate, error)
	Watching func() api.Watching
	// Status is read for the servers by verdict, the installs and the rollouts. Its context ends after a second.
	Status func(context.Context) (api.Status, error)
	// LogDropped counts log lines that the reader did not take, and those that were too many for one user.
	LogDropped func() (byReader, byUser uint64)
	// HistoryLost counts events and rollouts that were not kept on disk, and HistoryErr says why they cannot be kept now.
	HistoryLost func() uint64
	HistoryErr  func() error
	// FellBack reports whether scans of /proc stand in for the kernel program, which was wanted.
	FellBack func() bool
	// Fleet says what the record of the fleet said last.
	Fleet func() api.FleetRecord
	// StandsBy reports whether another service serves the servers of this one.
	StandsBy func(context.Context) (bool, error)
	// Staged says how far each path with staged files has come.
	Staged func() []api.Staged
}

// Follow has s read at each scrape from now on.
func (m *Metrics) Follow(s Sources) { m.current.sources.Store(&s) }

// current collects what is read at each scrape. It has no lock: the service that answers may call the observer at the same
// time.
type current struct {
	sources atomic.Pointer[Sources]
}

// Describe implements [prometheus.Collector]. A collector without descriptions is checked at each scrape.
func (c *current) Describe(chan<- *prometheus.Desc) {}

// Collect implements [prometheus.Collector].
func (c *current) Collect(metrics chan<- prometheus.Metric) {
	s, to := c.sources.Load(), scraped(metrics)
	if s == nil {
		s = &Sources{}
	}
	oneOf(to.gauges("tracker_mode", "1 for the way in which servers are found: bpf is the kernel program, proc is scans of /proc.", "mode"),
		s.Mode, api.SourceBPF, api.SourceProc)
	if s.FellBack != nil {
		to.flag("tracker_fallback", "1 if scans of /proc stand in for the kernel program, which was wanted.", s.FellBack())
	}
	if s.Tracker != nil {
		to.tracker(s.Tracker())
	}
	if s.Gate != nil {
		to.gate(s.Gate())
	}
	if s.Watching != nil {
		to.watching(s.Watching())
	}
	if s.LogDropped != nil {
		to.logDropped(s.LogDropped())
	}
	if s.HistoryLost != nil {
		to.count("history_lost_total", "Events and rollouts that the history lacks: the disk refused them, or one user had too many.", s.HistoryLost())
	}
	if s.HistoryErr != nil {
		to.flag("history_failing", "1 if the history of events and rollouts cannot be written.", s.HistoryErr() != nil)
	}
	if s.Fleet != nil {
		to.fleet(s.Fleet())
	}
	ctx, cancel := context.WithTimeout(context.Background(), statusTimeout)
	defer cancel()
	if s.StandsBy != nil {
		to.standsBy(s.StandsBy(ctx))
	}
	if s.Staged != nil {
		to.staged(s.Staged())
	}
	if s.Status != nil {
		to.status(s.Status(ctx))
	}
}

// scraped takes the metrics of one scrape.
type scraped chan<- prometheus.Metric

func (to scraped) tracker(t api.Tracker, err error) {
	if err != nil {
		to.failed("tracker_map_entries", err)
		return
	}
	to.gauge("tracker_map_entries", "Processes in the map of the kernel program, which it takes for servers.", int(t.Entries))
	to.gauge("tracker_map_capacity", "Processes that fit into the map of the kernel program.", int(t.Capacity))
	to.gauge("tracker_untracked_servers", "Servers that did not fit into the map. The gate does not cover them.", int(t.Outside))
	losses := to.counts("tracker_losses_total", "What the kernel program lost, by kind. Each loss leads to a scan of /proc.", "kind")
	losses("map-full", t.LostMapFull)
	losses("ring-full", t.LostRingFull)
	losses("missed", t.Missed)
	to.count("tracker_unreadable_args_total", "Processes that were taken for servers because their arguments could not be read.", t.UnreadableArgs)
	to.count("tracker_resyncs_total", "Scans that filled the map of the kernel program, the first one included.", t.Resyncs)
	differences := to.counts("tracker_audit_differences_total", "Processes of the map that audits corrected, by kind.", "kind")
	differences("missing", t.AuditMissing)
	differences("extra", t.AuditExtra)
}

func (to scraped) gate(g api.Gate, err error) {
	if err != nil {
		to.failed("gate_active", err)
		return
	}
	to.flag("gate_active", "1 if the gate is closed: the kernel refuses the signals that servers send each other.", g.Active)
	to.count("gate_refused_total", "Signals of one server to another that the gate refused.", g.Refused)
	to.count("gate_missed_total", "Signals of one server to another that passed because the kernel left out a run of the gate.", g.Missed)
}

func (to scraped) standsBy(stands bool, err error) {
	if err != nil {
		to.failed("stands_by", err)
		return
	}
	to.flag("stands_by", "1 if another service serves the servers of this one, which then signals none of them.", stands)
}

func (to scraped) watching(w api.Watching) {
	to.gauge("watched_installs", "Installs that are watched for a new binary. An install is a path as the servers of one user see it.", w.Installs)
	to.gauge("inotify_watches", "Watches of the kernel on directories and files of installs.", w.Watches)
	to.gauge("polled_installs", "Installs that are checked every 2 s because the kernel refused a watch.", w.Polled)
	to.gauge("stuck_lookups", "Checks of installs that wait for a file system that does not answer.", w.Stuck)
	to.count("refused_watches_total", "Watches that the kernel refused.", w.Refused)
	to.count("inotify_overflows_total", "Times that the kernel lost events of the watches. Each leads to a check of all installs.", w.Overflows)
}

func (to scraped) logDropped(byReader, byUser uint64) {
	dropped := to.counts("log_lines_dropped_total", "Log lines that were not written, by reason: reader is one that is too slow, user is one with too many.", "reason")
	dropped("reader", byReader)
	dropped("user", byUser)
}

// oneOf shows every word as 0, but for the chosen one.
func oneOf[T ~string](show func(string, int), chosen T, all ...T) {
	for _, word := range all {
		value := 0
		if word == chosen {
			value = 1
		}
		show(string(word), value)
	}
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
}

// failed leaves out the metrics that cannot be read, and makes the scrape count err.
func (to scraped) failed(name string, err error) {
	to <- prometheus.NewInvalidMetric(describe(name, ""), err)
}

func (to scraped) gauge(name, help string, value int) {
	to <- prometheus.MustNewConstMetric(describe(name, help), prometheus.GaugeValue, float64(value))
}

// flag shows 1 for true, and 0 for false.
func (to scraped) flag(name, help string, is bool) {
	to.gauge(name, help, map[bool]int{true: 1}[is])
}

func (to scraped) count(name, help string, value uint64) {
	to <- prometheus.MustNewConstMetric(describe(name, help), prometheus.CounterValue, float64(value))
}

// gauges returns a function that shows the value of one label.
func (to scraped) gauges(name, help, label string) func(string, int) {
	d := describe(name, help, label)
	return func(of string, value int) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(value), of)
	}
}

// counts returns a function that shows the count of one label.
func (to scraped) counts(name, help, label string) func(string, uint64) {
	d := describe(name, help, label)
	return func(of string, value uint64) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), of)
	}
}
