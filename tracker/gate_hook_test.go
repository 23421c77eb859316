// SPDX-License-Identifier: MIT

//go:build linux

package tracker_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"ebpf-upgrader/tracker"
)

// Where bpf is not among the kernel's LSMs, the program attaches and never runs.
func TestGate_LSMNotListed_FailsProof(t *testing.T) {
	t.Parallel()
	s := newScene(t, func(_ *scene, c *tracker.Config) { c.Signal = syscall.SIGUSR1 })
	list, unreadable := os.ReadFile("/sys/kernel/security/lsm")
	listed := slices.Contains(strings.Split(string(list), ","), "bpf")
	g, err := s.EnableGateAt("lsm")
	switch {
	case err == nil && unreadable == nil && !listed:
		t.Errorf("a gate at lsm is accepted, but the kernel's LSMs are %s", list)
	case err == nil:
		a, b := s.candidate(), s.candidate()
		s.wantGate(a, syscall.SIGUSR1, b.pid(), true)
		if g.Hook() != "lsm" {
			t.Errorf("the hook is %q", g.Hook())
		}
	case os.Getenv("REQUIRE_GATE") == "1" && (listed || !errors.Is(err, tracker.ErrNeverRuns)):
		t.Errorf("a gate at lsm fails with %v; the kernel's LSMs are %s", err, list)
	}
}

// Since Linux 6.2 the kernel misses no run of an LSM program.
func TestGate_LSMMissesNoRun_IsPreferred(t *testing.T) {
	t.Parallel()
	s, g := newGate(t, nil)
	if g == nil {
		return
	}
	atLSM, err := s.EnableGateAt("lsm")
	if err == nil {
		err = atLSM.Close()
	}
	want := "fmod_ret"
	if err == nil && tracker.IsKernelSince(6, 2) {
		want = "lsm"
	}
	if g.Hook() != want {
		t.Errorf("the hook is %q, want %q; at lsm: %v", g.Hook(), want, err)
	}
	_ = g.Close()
}
