// SPDX-License-Identifier: MIT

//go:build linux

package tracker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
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
	// reported are the losses that the last EventLost covered.
	reported losses
	// ringLossSeenAt is when a later value of reported.ring was first read; zero: none was.
	ringLossSeenAt time.Time
	// missed is the number of missed runs, as read at missedReadAt.
	missed       uint64
	missedReadAt time.Time
}

// losses are counters that only grow: events that did not fit into the ring, and processes that the programs did not
// record.
type losses struct{ ring, processes uint64 }

// eventSize is the size of struct event in bpf/exec_tracker.c, in bytes.
const eventSize = 24

// maxLossDelay is how long EventLost waits until the ring has been read, after events were lost. An earlier report would
// start a resync of all candidates while the ring is still full, and the next loss would follow at once.
const maxLossDelay = time.Second

// missedInterval is the time between two readings of the missed runs. A miss causes no event. So Next wakes up to read
// them, but only where tracepoint programs can be preempted (bpf/exec_tracker.c): elsewhere an idle service has no
// wake-ups. A reading takes a system call for each program, and 4 microseconds.
const missedInterval = 900 * time.Millisecond

// Next blocks until a process enters or leaves the set or is sent the signal, and returns that event. It returns
// [selector.EventLost] at once after processes were not recorded, within a second after runs were missed, and after
// events were lost. It must be called by one goroutine at a time. It fails with [ErrClosed] once the Tracker is closed.
func (t *Tracker) Next() (selector.Event, error) {
	for {
		// Events are lost only while the ring is full. So the next call after the last read reports it before it blocks.
		if t.isLossDue(time.Now()) {
			return selector.Event{Kind: selector.EventLost}, nil
		}
		err := t.ring.ReadInto(&t.next.record)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			continue
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
}

// isLossDue reports whether Next returns EventLost now.
func (t *Tracker) isLossDue(now time.Time) bool {
	n := &t.next
	lost := t.losses(now)
	isRingDue := false
	if lost.ring != n.reported.ring {
		if n.ringLossSeenAt.IsZero() {
			n.ringLossSeenAt = now
		}
		isRingRead := n.record.RawSample != nil && n.record.Remaining == 0
		isRingDue = isRingRead || now.Sub(n.ringLossSeenAt) >= maxLossDelay
	}
	if !isRingDue && lost.processes == n.reported.processes {
		return false
	}
	n.reported, n.ringLossSeenAt = lost, time.Time{}
	return true
}

// losses reads the counters. It returns those of the last report after Close.
func (t *Tracker) losses(now time.Time) losses {
	t.use.RLock()
	defer t.use.RUnlock()
	n := &t.next
	if t.isClosed {
		return n.reported
	}
	if now.Sub(n.missedReadAt) >= missedInterval {
		n.missed, _ = t.missed() // fails only after Close
		n.missedReadAt = now
		if t.isPreemptible {
			t.ring.SetDeadline(now.Add(missedInterval))
		}
	}
	var mapFull uint64
	lost := losses{}
	_ = t.objects.LostRingFull.Get(&lost.ring)
	_ = t.objects.LostMapFull.Get(&mapFull)
	lost.processes = n.missed + mapFull
	return lost
}

// timeOf converts a reading of the kernel's CLOCK_MONOTONIC in ns. The result may be some microseconds late, never early,
// because that clock is read before the other.
func timeOf(at uint64) time.Time {
	var clock unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &clock) // does not fail for this clock
	return time.Now().Add(time.Duration(at) - (time.Duration(clock.Nano()) - monotonicOffset()))
}

// monotonicOffset is how far CLOCK_MONOTONIC is ahead of the kernel's in the time namespace of this process; 0 before Linux 5.6.
var monotonicOffset = sync.OnceValue(func() time.Duration {
	text, _ := os.ReadFile("/proc/self/timens_offsets")
	var seconds, ns time.Duration
	_, _ = fmt.Sscanf(string(text), "monotonic %d %d", &seconds, &ns)
	return seconds*time.Second + ns
})

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
