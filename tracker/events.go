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

// Kind says what became of a process.
type Kind uint8

// The kinds of events. All but Lost have the numbers that the kernel program gives them.
const (
	// Exec: a process exec'd as a server, or a server did again.
	Exec Kind = iota + 1
	// Fork: a server forked a process that has not exec'd.
	Fork
	// Left: a tracked process exec'd something that is no server.
	Left
	// Exit: the last thread of a tracked process has exited.
	Exit
	// Signal: a tracked process was sent [Config.Signal]. Of more than one within a second the first is told.
	Signal
	// Lost: events were lost since the last one; PID means nothing.
	Lost
)

// String is the kind's word.
func (k Kind) String() string {
	words := [...]string{"none", "exec", "fork", "left", "exit", "signal", "lost"}
	if int(k) < len(words) {
		return words[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Event is one change of the set, or of what is known about one of its processes.
type Event struct {
	Kind Kind
	PID  selector.PID
	// At is when it happened, which may be long before it is read; it is zero for Lost.
	At time.Time
	// ExitCode is that of wait(2), for Exit.
	ExitCode uint32
	// Sender is the process that ran when the signal was sent, for Signal. For a signal of the
	// kernel's own, a timer's say, it is whoever was interrupted.
	Sender selector.PID
}

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
func (t *Tracker) Next() (Event, error) {
	// A loss needs a full ring, so there is one more event to read after it, and it is told here
	// before Next blocks again.
	if t.loss(time.Now()) {
		return Event{Kind: Lost}, nil
	}
	err := t.ring.ReadInto(&t.next.record)
	switch {
	case errors.Is(err, os.ErrClosed):
		return Event{}, ErrClosed
	case err != nil:
		return Event{}, fmt.Errorf("read ring buffer: %w", err)
	case len(t.next.record.RawSample) < eventSize:
		return Event{}, fmt.Errorf("read ring buffer: %d bytes are no event", len(t.next.record.RawSample))
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
		return time.Time{} // never refused for this clock
	}
	return time.Now().Add(time.Duration(at) - time.Duration(clock.Nano()))
}

// decode reads a struct event but for its time. What its last word means depends on the kind.
func decode(raw []byte) Event {
	e := Event{
		Kind: Kind(binary.NativeEndian.Uint32(raw[8:])),
		PID:  selector.PID(binary.NativeEndian.Uint32(raw[12:])),
	}
	switch detail := binary.NativeEndian.Uint32(raw[16:]); e.Kind {
	case Exit:
		e.ExitCode = detail
	case Signal:
		e.Sender = selector.PID(detail)
	}
	return e
}

// lostEvents is 0 while the counter cannot be read, which is only after Close.
func (t *Tracker) lostEvents() (lost uint64) {
	_ = t.objects.LostRingFull.Get(&lost)
	return lost
}
