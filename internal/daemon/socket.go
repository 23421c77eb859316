// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"os"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/selector"
)

// controlConfig is what the control socket reads from.
func (s *service) controlConfig() control.Config {
	h := s.host
	s.reloads.publish(&h.cfg)
	c := control.Config{
		Service: s.controller, Feed: s.feed, Reload: s.requestReload, Current: s.reloads.current.Load, Metrics: s.counts.Handler(),
		Host: s.describe, Gate: s.refusals.status, Covers: h.gate.coversPID, Group: h.cfg.SocketGroup, Acted: s.acted,
		Info: control.Info{
			Version: h.cfg.Version, PID: selector.PID(os.Getpid()), Started: time.Now(), PIDNamespace: PIDNamespace(),
			WatchesSignals: h.tracker != nil && h.tracker.WatchesSignals(),
		},
	}
	if s.staged != nil { // an interface with a nil pointer is not nil
		c.Stager = s.staged
	}
	return c
}

// describe fills in what a status shows of this host.
func (s *service) describe(status *control.Status) (err error) {
	status.Serves, status.Watching, status.StandsBy = s.reloads.current.Load().Serves, s.watched.watching(), s.host.standsBy()
	if s.staged != nil {
		status.Staged, status.Fleet = s.staged.Staged(), s.staged.Fleet()
	}
	if err := s.kept.err(); err != nil {
		status.HistoryError = err.Error()
	}
	if read := s.host.counters(); read != nil {
		status.Tracker = new(api.Tracker)
		*status.Tracker, err = read()
	}
	return err
}

// acted tells of an act of an operator, whichever way it came.
func (s *service) acted(e control.Event) {
	s.feed.Acted(e)
	s.events.Acted(e)
	s.counts.Acted(e.Act)
}

// counters reads what the tracker counts; nil where there is none.
func (h *Host) counters() func() (api.Tracker, error) {
	if h.tracker == nil {
		return nil
	}
	return func() (api.Tracker, error) {
		s, err := h.tracker.Stats()
		return api.Tracker(s), err
	}
}
