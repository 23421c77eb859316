// SPDX-License-Identifier: MIT

//go:build linux

package tracker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

// ErrClosed means that the Tracker was closed.
var ErrClosed = errors.New("tracker is closed")

// reader is the state that Next keeps between calls.
type reader struct {
	record ringbuf.Record
	// reportedLoss is the value of lost_ring_full that the last EventLost covered.
	reportedLoss uint64
	// lossSeenAt is when a later value was first read; zero: none was.
	lossSeenAt time.Time
}

// eventSize is the size of struct event in bpf/exec_tracker.c, in bytes.
const eventSize = 24

// maxLossDelay is how long EventLost waits until the ring has been read. An earlier report would start a resync of all
// candidates while the ring is still full, and the next loss would follow at once.
const maxLossDelay = time.Second

// Next blocks until a process enters or leaves the set or is sent the signal, and returns that event. It must be called
// by one goroutine at a time. It fails with [ErrClosed] once the Tracker is closed.
func (t *Tracker) Next() (selector.Event, error) {
	// A loss happens only while the ring is full. So the next call after the last read reports it before it blocks.
	if t.isLossDue(time.Now()) {
		return selector.Event{Kind: selector.EventLost}, nil
	}
	err := t.ring.ReadInto(&t.next.record)
	switch {
	case errors.Is(err, os.ErrClosed):
		return selector.Event{}, ErrClosed
	case err != nil:
		return selector.Event{}, fmt.Errorf("read ring buffer: %w", err)
	case len(t.next.record.RawSample) < eventSize:
		return selector.Event{}, fmt.Errorf("read ring buffer: an event has %d bytes, want %d", len(t.next.record.RawSample), eventSize)
	}
	e := decode(t.next.record.RawSample)
	e.At = timeOf(binary.NativeEndian.Uint64(t.next.record.RawSample))
	return e, nil
}

// isLossDue reports whether Next returns EventLost now.
func (t *Tracker) isLossDue(now time.Time) bool {
	n := &t.next
	lost := t.lostEvents()
	switch {
	case lost == n.reportedLoss:
		return false
	case n.lossSeenAt.IsZero():
		n.lossSeenAt = now
	}
	if t.ring.AvailableBytes() > 0 && now.Sub(n.lossSeenAt) < maxLossDelay {
		return false
	}
	n.reportedLoss, n.lossSeenAt = lost, time.Time{}
	return true
}

// timeOf converts a reading of CLOCK_MONOTONIC in ns. The result may be some microseconds late, never early, because
// that clock is read before the other.
func timeOf(at uint64) time.Time {
	var clock unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &clock); err != nil {
		return time.Now() // cannot happen for this clock
	}
	return time.Now().Add(time.Duration(at) - time.Duration(clock.Nano()))
}

// decode reads a struct event except its time. The meaning of its last word depends on the kind.
func decode(raw []byte) selector.Event {
	e := selector.Event{
		Kind: selector.EventKind(binary.NativeEndian.Uint32(raw[8:])),
		PID:  selector.PID(binary.NativeEndian.Uint32(raw[12:])),
	}
	switch detail := binary.NativeEndian.Uint32(raw[16:]); e.Kind {
	case selector.EventExit:
		e.Exit = selector.Exit{Known: true, Status: detail}
	case selector.EventSignal:
		e.Sender = selector.PID(detail)
	}
	return e
}

// lostEvents is 0 if the counter cannot be read, which happens only after Close.
func (t *Tracker) lostEvents() (lost uint64) {
	_ = t.objects.LostRingFull.Get(&lost)
	return lost
}
