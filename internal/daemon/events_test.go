// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"errors"
	"testing"

	"ebpf-upgrader/selector"
	"ebpf-upgrader/tracker"
)

// endsWith is a stream of one event and an error.
type endsWith struct {
	err  error
	told bool
}

func (s *endsWith) Next() (selector.Event, error) {
	if s.told {
		return selector.Event{}, s.err
	}
	s.told = true
	return selector.Event{Kind: selector.EventExec, PID: 1}, nil
}

// TestEvents_TrackerFails_ErrorReported, unless it was closed.
func TestEvents_TrackerFails_ErrorReported(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, c := range []struct{ err, want error }{{broken, broken}, {tracker.ErrClosed, nil}} {
		var told error
		got := 0
		for range events(t.Context(), &endsWith{err: c.err}, func(selector.EventKind) {}, func(err error) { told = err }) {
			got++
		}
		if got != 1 || !errors.Is(told, c.want) {
			t.Errorf("after %d events and %v, %v was told, want %v", got, c.err, told, c.want)
		}
	}
}
