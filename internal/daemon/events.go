// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"ebpf-upgrader/selector"
	"ebpf-upgrader/tracker"
)

// stream is the source of the tracker's events.
type stream interface {
	Next() (selector.Event, error)
}

// events passes the tracker's events on until the tracker is closed, it fails, or ctx ends. failed receives the error before
// the channel is closed.
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
				continue // the service knows which servers it signalled
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

// audit compares the tracker with a scan, and repairs it.
func audit(ctx context.Context, t *tracker.Tracker, log *slog.Logger) error {
	difference, err := t.Audit(ctx)
	if err != nil {
		return fmt.Errorf("audit the tracker: %w", err)
	}
	if len(difference.Missing)+len(difference.Extra) > 0 {
		sourceCorrected.to(log, keyMissing.of(difference.Missing), keyExtra.of(difference.Extra))
	}
	return nil
}
