// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"testing"

	"ebpf-upgrader/internal/rollout"
)

// TestRestart_FileUnchanged_IsNotOpenedAgain: an open would fire the servers' own trigger.
func TestRestart_FileUnchanged_IsNotOpenedAgain(t *testing.T) {
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		s := newScene(t)
		s.start(nil)
		count := opens(t, s.Path())
		service := s.serve(source)
		s.phase(service.client(t), rollout.PhaseComplete)
		service.stop()
		first := count()
		if first != 1 {
			t.Errorf("the first service opened the file %d times, want once", first)
		}
		service = service.again(t, s.Path(), source)
		s.phase(service.client(t), rollout.PhaseComplete)
		if n := count(); n != 0 {
			t.Errorf("the next service opened the file %d times, want none", n)
		}
		s.replace()
		s.phase(service.client(t), rollout.PhaseComplete)
	})
}
