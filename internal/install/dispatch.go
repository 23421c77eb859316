// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"bytes"
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"
)

// read tells the listeners what happens, until close.
func (n *notifier) read() {
	if n.file == nil {
		return
	}
	buf := make([]byte, queue)
	for {
		got, err := n.file.Read(buf)
		if err != nil {
			return // closed: nothing else fails
		}
		n.wakeups.Add(1)
		n.mu.Lock()
		n.dispatch(buf[:got])
		n.mu.Unlock()
		time.Sleep(breath)
	}
}

func (n *notifier) dispatch(events []byte) {
	for len(events) >= unix.SizeofInotifyEvent {
		wd := int32(binary.NativeEndian.Uint32(events))
		mask := binary.NativeEndian.Uint32(events[4:])
		length := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(events[12:]))
		name, _, _ := bytes.Cut(events[unix.SizeofInotifyEvent:length], []byte{0})
		n.happened(wd, mask, name)
		events = events[length:]
	}
}

// happened leaves out events of watches that were given up, and of names that nobody asked for.
func (n *notifier) happened(wd int32, mask uint32, name []byte) {
	if mask&unix.IN_Q_OVERFLOW != 0 {
		n.overflow()
		return
	}
	gone := mask&unix.IN_IGNORED != 0
	if gone {
		n.ended.note(wd)
	}
	s := n.spots[wd]
	if s == nil {
		return
	}
	if mask&maskAlways == 0 {
		for l := range s.names[string(name)] {
			l.heard()
		}
		return
	}
	for l := range s.users {
		if gone {
			l.bereft()
		} else {
			l.heard()
		}
	}
	if gone { // the number may be used again
		delete(n.spots, wd)
	}
}

// overflow has everybody look, but not all the time.
func (n *notifier) overflow() {
	n.overflows.Add(1)
	switch wait := overflowPause - time.Since(n.overflowed); {
	case wait > overflowPause: // one is to come
	case wait > 0:
		time.AfterFunc(wait, n.wakeAll)
		n.overflowed = n.overflowed.Add(overflowPause)
	default:
		n.overflowed = time.Now()
		n.everybody()
	}
}

func (n *notifier) wakeAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.everybody()
}

func (n *notifier) everybody() {
	for l := range n.all {
		l.heard()
	}
}
