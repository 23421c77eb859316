// SPDX-License-Identifier: MIT

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/tracker"
)

// stream is where the tracker's events come from.
type stream interface {
	Next() (selector.Event, error)
}

// events hands the tracker's events on until the tracker is closed or ctx ends. An error ends them, too; failed
// is told of it first, because whoever receives them learns only that there are no more.
func events(ctx context.Context, from stream, count func(selector.EventKind), failed func(error)) <-chan selector.Event {
	events := make(chan selector.Event)
	own := selector.PID(os.Getpid())
	go func() {
		defer close(events)
		for {
			e, err := from.Next()
			if err != nil {
				if !errors.Is(err, tracker.ErrClosed) && ctx.Err() == nil {
					failed(err)
				}
				return
			}
			if e.Kind == selector.EventSignal && e.Sender == own {
				continue // the service knows whom it asked
			}
			count(e.Kind)
			select {
			case events <- e:
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
			Entries: s.Entries, Capacity: s.Capacity, Outside: s.Outside,
			LostMapFull: s.LostMapFull, LostRingFull: s.LostRingFull, Missed: s.Missed,
			UnreadableArgs: s.UnreadableArgs, Resyncs: s.Resyncs,
			AuditMissing: s.AuditMissing, AuditExtra: s.AuditExtra,
		}, err
	}
}
