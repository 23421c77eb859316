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

// Gate is what the gate refused since the start.
type Gate struct {
	Active bool
	// Refused counts signals that were refused, Missed those that passed unseen.
	Refused, Missed uint64
}

type (
	readGate     = func() (Gate, error)
	readWatching = func() api.Watching
	readTracker  = func() (api.Tracker, error)
	readStatus   = func(context.Context) (api.Status, error)
)

// SetSource says where the candidates come from. Until then every mode is 0.
func (m *Metrics) SetSource(source api.Source) { m.current.source.Store(&source) }

// FollowTracker has read called at each scrape, by any goroutine. Without, or with nil, the metrics of
// the tracker are absent.
func (m *Metrics) FollowTracker(read func() (api.Tracker, error)) { m.current.tracker.Store(&read) }

// FollowWatching has read called at each scrape, by any goroutine. Without, or with nil, the metrics of
// the watches are absent.
func (m *Metrics) FollowWatching(read func() api.Watching) { m.current.watching.Store(&read) }

// FollowGate has read called at each scrape, by any goroutine. Without, or with nil, the metrics of the gate are
// absent.
func (m *Metrics) FollowGate(read func() (Gate, error)) { m.current.gate.Store(&read) }

// FollowStatus has read called at each scrape, by any goroutine, for the servers by verdict and the
// rollout. Its context ends after a second. Without, or with nil, these are absent.
func (m *Metrics) FollowStatus(read func(context.Context) (api.Status, error)) {
	m.current.status.Store(&read)
}

// current collects what is read at each scrape. It has no lock: the service that answers may call the observer at the same
// time.
type current struct {
	source  atomic.Pointer[api.Source]
	tracker atomic.Pointer[readTracker]
	status  atomic.Pointer[readStatus]

	watching atomic.Pointer[readWatching]
	gate     atomic.Pointer[readGate]

	mode, servers, installs, phases, members *prometheus.Desc
	watched, inotify, polled, stuck          *prometheus.Desc
	refused, overflows                       *prometheus.Desc
	tracked, entries, capacity, outside      *prometheus.Desc
	losses, unreadable, resyncs, differences *prometheus.Desc
	gateActive, gateRefused, gateMissed      *prometheus.Desc
}

func newCurrent() *current {
	return &current{
		mode:     describe("tracker_mode", "1 for the source of the candidates: the kernel program, or scans of /proc.", "mode"),
		servers:  describe("servers", "Servers by the verdict of their last inspection.", "verdict"),
		phases:   describe("rollouts", "Rollouts under way by phase.", "phase"),
		members:  describe("rollout_servers", "Servers of the rollouts under way that are or were in each state.", "state"),
		installs: describe("installs", "Installs by the state of their file.", "state"),

		watched:   describe("watched_installs", "Installs that are watched for a new binary."),
		inotify:   describe("inotify_watches", "Directories and files that the kernel watches for that."),
		polled:    describe("polled_installs", "Installs that are checked every few seconds because the kernel refused a watch."),
		stuck:     describe("stuck_lookups", "Lookups in file systems that do not answer."),
		refused:   describe("refused_watches_total", "Watches that the kernel refused."),
		overflows: describe("inotify_overflows_total", "How often the kernel lost events of the watches."),

		tracked:  describe("tracked_servers", "Processes that the kernel program takes for servers."),
		entries:  describe("map_entries", "Entries in the map of the kernel program."),
		capacity: describe("map_capacity", "Entries that fit into the map of the kernel program."),

		outside: describe("untracked_servers", "Candidates that did not fit into the map: their signals are not seen, and the gate does not cover them."),

		losses:      describe("losses_total", "Losses that made a scan necessary, by kind.", "kind"),
		unreadable:  describe("unreadable_args_total", "Processes that were recorded because their arguments could not be read."),
		resyncs:     describe("resyncs_total", "Scans that filled the map of the kernel program, the first one included."),
		gateActive:  describe("gate_active", "1 if the servers' own signals are refused."),
		gateRefused: describe("gate_refused_total", "Signals of one server to another that were refused."),
		gateMissed:  describe("gate_missed_total", "Signals that passed because a run of the gate's program was left out."),

		differences: describe("audit_differences_total", "Entries of the map that audits corrected, by kind.", "kind"),
	}
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
}

// Describe implements [prometheus.Collector].
func (c *current) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.mode, c.servers, c.installs, c.phases, c.members, c.watched, c.inotify, c.polled, c.stuck,
		c.refused, c.overflows, c.tracked, c.entries, c.capacity, c.outside,
		c.losses, c.unreadable, c.resyncs, c.differences,
		c.gateActive, c.gateRefused, c.gateMissed,
	} {
		to <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *current) Collect(to chan<- prometheus.Metric) {
	var source api.Source
	if known := c.source.Load(); known != nil {
		source = *known
	}
	oneOf(to, c.mode, source, api.SourceBPF, api.SourceProc)
	if read := c.tracker.Load(); read != nil && *read != nil {
		c.collectTracker(to, *read)
	}
	if read := c.gate.Load(); read != nil && *read != nil {
		c.collectGate(to, *read)
	}
	if read := c.watching.Load(); read != nil && *read != nil {
		c.collectWatching(to, (*read)())
	}
	if read := c.status.Load(); read != nil && *read != nil {
		c.collectStatus(to, *read)
	}
}

func (c *current) collectTracker(to chan<- prometheus.Metric, read readTracker) {
	t, err := read()
	if err != nil {
		to <- prometheus.NewInvalidMetric(c.entries, err)
		return
	}
	gauge(to, c.tracked, float64(t.Entries))
	gauge(to, c.entries, float64(t.Entries))
	gauge(to, c.capacity, float64(t.Capacity))
	gauge(to, c.outside, float64(t.Outside))
	count(to, c.losses, t.LostMapFull, "map-full")
	count(to, c.losses, t.LostRingFull, "ring-full")
	count(to, c.losses, t.Missed, "missed")
	count(to, c.unreadable, t.UnreadableArgs)
	count(to, c.resyncs, t.Resyncs)
	count(to, c.differences, t.AuditMissing, "missing")
	count(to, c.differences, t.AuditExtra, "extra")
}

func (c *current) collectGate(to chan<- prometheus.Metric, read readGate) {
	g, err := read()
	if err != nil {
		to <- prometheus.NewInvalidMetric(c.gateActive, err)
		return
	}
	active := 0.0
	if g.Active {
		active = 1
	}
	gauge(to, c.gateActive, active)
	count(to, c.gateRefused, g.Refused)
	count(to, c.gateMissed, g.Missed)
}

func (c *current) collectWatching(to chan<- prometheus.Metric, w api.Watching) {
	gauge(to, c.watched, float64(w.Installs))
	gauge(to, c.inotify, float64(w.Watches))
	gauge(to, c.polled, float64(w.Polled))
	gauge(to, c.stuck, float64(w.Stuck))
	count(to, c.refused, w.Refused)
	count(to, c.overflows, w.Overflows)
}

func (c *current) collectStatus(to chan<- prometheus.Metric, read readStatus) {
	ctx, cancel := context.WithTimeout(context.Background(), statusTimeout)
	defer cancel()
	status, err := read(ctx)
	if err != nil {
		to <- prometheus.NewInvalidMetric(c.phases, err)
		return
	}
	for _, v := range selector.Verdicts() {
		gauge(to, c.servers, float64(status.Verdicts[v]), v.String())
	}
	installs := make(map[selector.State]int)
	for _, i := range status.Installs {
		installs[i.State]++
	}
	for _, s := range []selector.State{selector.StateReady, selector.StateUnready, selector.StateMissing} {
		gauge(to, c.installs, float64(installs[s]), string(s))
	}
	c.collectRollouts(to, status.Rollouts)
}

func (c *current) collectRollouts(to chan<- prometheus.Metric, rollouts []rollout.Report) {
	phases, members := make(map[rollout.Phase]int), make(map[rollout.State]int)
	for _, r := range rollouts {
		phases[r.Phase]++
		for s, n := range r.Servers {
			members[s] += n
		}
	}
	for _, p := range rollout.Phases() {
		gauge(to, c.phases, float64(phases[p]), string(p))
	}
	for _, s := range rollout.States() {
		gauge(to, c.members, float64(members[s]), s.String())
	}
}

// oneOf shows every word as 0, but for the chosen one.
func oneOf[T ~string](to chan<- prometheus.Metric, d *prometheus.Desc, chosen T, all ...T) {
	for _, word := range all {
		value := 0.0
		if word == chosen {
			value = 1
		}
		gauge(to, d, value, string(word))
	}
}

func gauge(to chan<- prometheus.Metric, d *prometheus.Desc, value float64, labels ...string) {
	to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

func count(to chan<- prometheus.Metric, d *prometheus.Desc, value uint64, labels ...string) {
	to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), labels...)
}
