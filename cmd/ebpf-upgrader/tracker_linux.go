// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"fmt"
	"os"
	"syscall"

	"ebpf-upgrader/control"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/tracker"
	"ebpf-upgrader/upgrade"
)

// kinds translates what the tracker saw.
var kinds = map[tracker.Kind]upgrade.Kind{
	tracker.Exec:   upgrade.Execed,
	tracker.Fork:   upgrade.Forked,
	tracker.Left:   upgrade.Became,
	tracker.Exit:   upgrade.Ended,
	tracker.Signal: upgrade.AskedByOther,
	tracker.Lost:   upgrade.Lost,
}

// events hands the tracker's events on until the tracker is closed or ctx ends.
func (h *host) events(ctx context.Context, count func(upgrade.Kind)) <-chan upgrade.Event {
	events := make(chan upgrade.Event)
	own := selector.PID(os.Getpid())
	go func() {
		defer close(events)
		for {
			e, err := h.tracker.Next()
			if err != nil {
				return
			}
			if e.Kind == tracker.Signal && e.Sender == own {
				continue // the service knows whom it asked
			}
			count(kinds[e.Kind])
			event := upgrade.Event{Kind: kinds[e.Kind], PID: e.PID}
			if e.Kind == tracker.Exit {
				event.Exit = upgrade.Exit{Known: true, Status: syscall.WaitStatus(e.ExitCode)}
			}
			select {
			case events <- event:
			case <-ctx.Done():
				return
			}
		}
	}()
	return events
}

func (a *app) audit(ctx context.Context, t *tracker.Tracker) error {
	difference, err := t.Audit(ctx)
	if err != nil {
		return fmt.Errorf("audit the tracker: %w", err)
	}
	if len(difference.Missing)+len(difference.Extra) > 0 {
		a.log.Warn("the tracker was wrong", "missing", difference.Missing, "extra", difference.Extra)
	}
	return nil
}

// counters reads what the tracker counts; nil where there is none.
func (h *host) counters() func() (control.Tracker, error) {
	if h.tracker == nil {
		return nil
	}
	return func() (control.Tracker, error) {
		s, err := h.tracker.Stats()
		return control.Tracker{
			Entries: s.Entries, Capacity: s.Capacity,
			LostMapFull: s.LostMapFull, LostRingFull: s.LostRingFull, Missed: s.Missed,
			UnreadableArgs: s.UnreadableArgs, Resyncs: s.Resyncs,
			AuditMissing: s.AuditMissing, AuditExtra: s.AuditExtra,
		}, err
	}
}
