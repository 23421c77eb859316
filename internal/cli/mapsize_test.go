// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"strings"
	"testing"

	"ebpf-upgrader/test/testfleet"
)

// TestMap_TooSmall_AllUpgraded: most servers do not fit into the kernel's map.
func TestMap_TooSmall_AllUpgraded(t *testing.T) {
	needRoot(t)
	t.Parallel()
	s := newScene(t)
	fleet := make([]*testfleet.Server, 8)
	for i := range fleet[:4] {
		fleet[i] = s.start(nil)
	}
	s.serve("bpf", "--max-entries", "2")
	for i := 4; i < len(fleet); i++ {
		fleet[i] = s.start(nil)
	}
	s.replace()
	for _, server := range fleet {
		s.upgraded(server)
	}
}

func TestSelf_Any_SignalledLast(t *testing.T) {
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		s := newScene(t)
		fleet := []*testfleet.Server{s.start(nil), s.start(nil), s.start(nil)}
		s.replace()
		self := fleet[0].PID()
		_, stderr := s.trigger(exitOK, source, "--self", self.String(), "--canary", "0")
		last := strings.LastIndex(stderr, ": signalled\n")
		if last < 0 || !strings.HasSuffix(stderr[:last], "server "+self.String()) {
			t.Errorf("self is %d, and these were signalled:\n%s", self, stderr)
		}
		for _, server := range fleet {
			s.upgraded(server)
			if n := server.Signals(); n != 1 {
				t.Errorf("%d got %d signals, want 1", server.PID(), n)
			}
		}
	})
}
