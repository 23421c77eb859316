// SPDX-License-Identifier: MIT

package metrics

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
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
	// HistoryLost counts events and rollouts that were not kept on disk.
	HistoryLost func() uint64
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
	oneOf(to.gauges("tracker_mode", "1 for the source of the candidates: the kernel program, or scans of /proc.", "mode"),
		s.Mode, api.SourceBPF, api.SourceProc)
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
		to.count("history_lost_total", "Events and rollouts that were not kept on disk: it could not be written, or there were too many of one user.", s.HistoryLost())
	}
	if s.Status != nil {
		ctx, cancel := context.WithTimeout(context.Background(), statusTimeout)
		defer cancel()
		to.status(s.Status(ctx))
	}
}

// scraped takes the metrics of one scrape.
type scraped chan<- prometheus.Metric

func (to scraped) tracker(t api.Tracker, err error) {
	if err != nil {
		to.failed("map_entries", err)
		return
	}
	to.gauge("tracked_servers", "Processes that the kernel program takes for servers.", int(t.Entries))
	to.gauge("map_entries", "Entries in the map of the kernel program.", int(t.Entries))
	to.gauge("map_capacity", "Entries that fit into the map of the kernel program.", int(t.Capacity))
	to.gauge("untracked_servers", "Candidates that did not fit into the map: their signals are not seen, and the gate does not cover them.", int(t.Outside))
	losses := to.counts("losses_total", "Losses that made a scan necessary, by kind.", "kind")
	losses("map-full", t.LostMapFull)
	losses("ring-full", t.LostRingFull)
	losses("missed", t.Missed)
	to.count("unreadable_args_total", "Processes that were recorded because their arguments could not be read.", t.UnreadableArgs)
	to.count("resyncs_total", "Scans that filled the map of the kernel program, the first one included.", t.Resyncs)
	differences := to.counts("audit_differences_total", "Entries of the map that audits corrected, by kind.", "kind")
	differences("missing", t.AuditMissing)
	differences("extra", t.AuditExtra)
}

func (to scraped) gate(g api.Gate, err error) {
	if err != nil {
		to.failed("gate_active", err)
		return
	}
	active := 0
	if g.Active {
		active = 1
	}
	to.gauge("gate_active", "1 if the servers' own signals are refused.", active)
	to.count("gate_refused_total", "Signals of one server to another that were refused.", g.Refused)
	to.count("gate_missed_total", "Signals that passed because a run of the gate's program was left out.", g.Missed)
}

func (to scraped) watching(w api.Watching) {
	to.gauge("watched_installs", "Installs that are watched for a new binary.", w.Installs)
	to.gauge("inotify_watches", "Directories and files that the kernel watches for that.", w.Watches)
	to.gauge("polled_installs", "Installs that are checked every few seconds because the kernel refused a watch.", w.Polled)
	to.gauge("stuck_lookups", "Lookups in file systems that do not answer.", w.Stuck)
	to.count("refused_watches_total", "Watches that the kernel refused.", w.Refused)
	to.count("inotify_overflows_total", "How often the kernel lost events of the watches.", w.Overflows)
}

func (to scraped) logDropped(byReader, byUser uint64) {
	dropped := to.counts("log_lines_dropped_total", "Log lines that were not written: the reader is too slow, or there were too many about one user.", "reason")
	dropped("reader", byReader)
	dropped("user", byUser)
}

func (to scraped) status(status api.Status, err error) {
	if err != nil {
		to.failed("rollouts", err)
		return
	}
	servers := to.gauges("servers", "Servers by the verdict of their last inspection.", "verdict")
	for _, v := range selector.Verdicts() {
		servers(v.String(), status.Verdicts[v])
	}
	states := make(map[selector.State]int)
	for _, i := range status.Installs {
		states[i.State]++
	}
	installs := to.gauges("installs", "Installs by the state of their file.", "state")
	for _, s := range []selector.State{selector.StateReady, selector.StateUnready, selector.StateMissing} {
		installs(string(s), states[s])
	}
	to.rollouts(status.Rollouts)
}

func (to scraped) rollouts(all []rollout.Report) {
	inPhase, inState := make(map[rollout.Phase]int), make(map[rollout.State]int)
	for _, r := range all {
		inPhase[r.Phase]++
		for s, n := range r.Servers {
			inState[s] += n
		}
	}
	phases := to.gauges("rollouts", "Rollouts under way by phase.", "phase")
	for _, p := range rollout.Phases() {
		phases(string(p), inPhase[p])
	}
	states := to.gauges("rollout_servers", "Servers of the rollouts under way that are or were in each state.", "state")
	for _, s := range rollout.States() {
		states(s.String(), inState[s])
	}
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
