// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"testing"

	"ebpf-upgrader/internal/budget"
	"ebpf-upgrader/selector"
)

func BenchmarkCheck(b *testing.B) {
	for b.Loop() {
		if i := Check(RootedPath{Path: "/bin/sh"}); i.State != selector.StateReady {
			b.Fatalf("%+v", i)
		}
	}
}

// BenchmarkResync measures a check without an event, which each path has every 30 s.
func BenchmarkResync(b *testing.B) {
	h := newHub(0, eventsOnly())
	defer h.Close()
	h.meter = budget.NewMeter(budget.Limit{})
	w := h.newWatcher(RootedPath{Path: "/bin/sh"}, func(selector.Install) {})
	w.withRoot(w.start)
	b.ResetTimer()
	for b.Loop() {
		w.withRoot(w.resync)
	}
}
