// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"testing"

	"ebpf-upgrader/selector"
)

func BenchmarkCheck(b *testing.B) {
	for b.Loop() {
		if i := Check(RootedPath{Path: "/bin/sh"}); i.State != selector.StateReady {
			b.Fatalf("%+v", i)
		}
	}
}

// BenchmarkAnIdleLook is what a way costs every 30 s.
func BenchmarkAnIdleLook(b *testing.B) {
	h := newHub(0, eventsOnly())
	defer h.Close()
	w := h.newWatcher(RootedPath{Path: "/bin/sh"}, func(selector.Install) {})
	w.ask(w.begin)
	b.ResetTimer()
	for b.Loop() {
		w.owner.spend(-burst) // which the looks of this benchmark would use up
		w.ask(w.lookUnasked)
	}
}
