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

// follower is what Next remembers from call to call.
type follower struct {
	record ringbuf.Record
	// told is the loss up to which Lost was told, and noticed when a later one was first seen.
	told    uint64
	noticed time.Time
}

// eventSize is that of struct event in bpf/exec_tracker.c.
const eventSize = 24

// lossWithin is how long Lost waits for what is in the ring to be read. Told before, it would be followed by
// the next loss at once: while somebody looks at everybody, nobody makes room.
const lossWithin = time.Second

// Next blocks until a process enters or leaves the set or is sent the signal, and says which. It must be called by one
// goroutine at a time. It fails with [ErrClosed] once the Tracker is closed.
func (t *Tracker) Next() (selector.Event, error) {
	// A loss needs a full ring, so there is one more event to read after it, and it is told here
	// before Next blocks again.
	if t.loss(time.Now()) {
		return selector.Event{Kind: selector.EventLost}, nil
	}
	err := t.ring.ReadInto(&t.next.record)
	switch {
	case errors.Is(err, os.ErrClosed):
		return selector.Event{}, ErrClosed
	case err != nil:
		return selector.Event{}, fmt.Errorf("read ring buffer: %w", err)
	case len(t.next.record.RawSample) < eventSize:
		return selector.Event{}, fmt.Errorf("read ring buffer: %d bytes are no event", len(t.next.record.RawSample))
	}
	e := decode(t.next.record.RawSample)
	e.At = happened(binary.NativeEndian.Uint64(t.next.record.RawSample))
	return e, nil
}

// loss reports whether a loss is to be told now.
func (t *Tracker) loss(now time.Time) bool {
	n := &t.next
	lost := t.lostEvents()
	switch {
	case lost == n.told:
		return false
	case n.noticed.IsZero():
		n.noticed = now
	}
	if t.ring.AvailableBytes() > 0 && now.Sub(n.noticed) < lossWithin {
		return false
	}
	n.told, n.noticed = lost, time.Time{}
	return true
}

// happened is the time of a reading of CLOCK_MONOTONIC, or one that is some microseconds later, never earlier:
// that clock is read first.
func happened(at uint64) time.Time {
	var clock unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &clock); err != nil {
		return time.Now() // never refused for this clock
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

// lostEvents is 0 while the counter cannot be read, which is only after Close.
func (t *Tracker) lostEvents() (lost uint64) {
	_ = t.objects.LostRingFull.Get(&lost)
	return lost
}
