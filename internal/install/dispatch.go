// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"bytes"
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"
)

// read passes events to the listeners until close.
func (n *notifier) read() {
	if n.file == nil {
		return
	}
	buf := make([]byte, readBufferSize)
	for {
		got, err := n.file.Read(buf)
		if err != nil {
			return // closed: there is no other error
		}
		n.wakeups.Add(1)
		n.mu.Lock()
		n.dispatch(buf[:got])
		n.mu.Unlock()
		time.Sleep(coalesceDelay)
	}
}

func (n *notifier) dispatch(events []byte) {
	for len(events) >= unix.SizeofInotifyEvent {
		wd := int32(binary.NativeEndian.Uint32(events))
		mask := binary.NativeEndian.Uint32(events[4:])
		length := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(events[12:]))
		name, _, _ := bytes.Cut(events[unix.SizeofInotifyEvent:length], []byte{0})
		n.handle(wd, mask, name)
		events = events[length:]
	}
}

// handle passes on one event, except those of removed watches and of names without a listener.
func (n *notifier) handle(wd int32, mask uint32, name []byte) {
	if mask&unix.IN_Q_OVERFLOW != 0 {
		n.overflow()
		return
	}
	wake := (*Watcher).onChange
	watch := n.watches[wd]
	if mask&unix.IN_IGNORED != 0 {
		wake = (*Watcher).onWatchLost
		n.forget(wd)
	}
	switch {
	case watch == nil:
	case mask&maskAlways == 0:
		for l := range watch.names[string(name)] {
			wake(l)
		}
	default:
		for _, named := range watch.names {
			for l := range named {
				wake(l)
			}
		}
	}
}

// overflow wakes all listeners, at most once per overflowInterval.
func (n *notifier) overflow() {
	n.overflows.Add(1)
	switch wait := overflowInterval - time.Since(n.lastOverflow); {
	case wait > overflowInterval: // a wake-up is scheduled
	case wait > 0:
		time.AfterFunc(wait, n.wakeAll)
		n.lastOverflow = n.lastOverflow.Add(overflowInterval)
	default:
		n.lastOverflow = time.Now()
		n.wakeAllLocked()
	}
}

func (n *notifier) wakeAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.wakeAllLocked()
}

func (n *notifier) wakeAllLocked() {
	for l := range n.subscriptions {
		l.onChange()
	}
}
