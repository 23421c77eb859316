// SPDX-License-Identifier: MIT

//go:build linux

package tracker

import (
	"encoding/binary"
	"testing"

	"ebpf-upgrader/selector"
)

// FuzzEvent decodes any record of the size of an event: each word goes to one field, and no other field is set.
func FuzzEvent(f *testing.F) {
	f.Add(uint32(selector.EventExec), uint32(1), uint32(0))
	f.Add(uint32(selector.EventExit), uint32(1<<31), uint32(256))
	f.Add(uint32(selector.EventSignal), uint32(7), uint32(1<<32-1))
	f.Add(uint32(99), uint32(7), uint32(8))
	f.Fuzz(func(t *testing.T, kind, pid, detail uint32) {
		raw := make([]byte, eventSize)
		for i, word := range []uint32{kind, pid, detail} {
			binary.NativeEndian.PutUint32(raw[8+4*i:], word)
		}
		want := selector.Event{Kind: selector.EventKind(kind), PID: selector.PID(pid)}
		switch want.Kind {
		case selector.EventExit:
			want.Exit = selector.Exit{Known: true, Status: detail}
		case selector.EventSignal:
			want.Sender = selector.PID(detail)
		}
		if got := decode(raw); got != want {
			t.Errorf("decode(%x) = %+v, want %+v", raw, got, want)
		}
	})
}
