// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"path/filepath"
	"testing"

	"ebpf-upgrader/internal/testfleet"
)

// TestProcessesThatHoldTheirMemoryDelayNobodyElse: more of them than threads may wait for.
func TestProcessesThatHoldTheirMemoryDelayNobodyElse(t *testing.T) {
	t.Parallel()
	underSiege(t, func(t *testing.T, s *siege) {
		dir := t.TempDir()
		release, err := testfleet.MountMute(dir)
		must(t, err)
		var held []*testfleet.Held
		t.Cleanup(func() {
			must(t, release()) // first: they end only then
			for _, h := range held {
				h.Stop()
			}
		})
		for range 6 {
			h, err := testfleet.StartHeld(filepath.Join(dir, testfleet.Mute), s.name, "mcp")
			held = append(held, h)
			must(t, err)
		}
	})
}

func TestProcessesThatShowATerabyteDelayNobodyElse(t *testing.T) {
	t.Parallel()
	underSiege(t, func(_ *testing.T, s *siege) {
		for range 20 {
			s.liar("endless", s.his.Path(), s.his.Path(), 0)
		}
	})
}
