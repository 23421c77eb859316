// SPDX-License-Identifier: MIT

//go:build linux

package tracker_test

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
	"ebpf-upgrader/tracker"
)

func TestGate_Exempt_Passes(t *testing.T) {
	t.Parallel()
	s, g := newGate(t, nil)
	if g == nil {
		return
	}
	a, b := s.candidate(), s.candidate()
	if err := g.Exempt(b.pid(), time.Now()); err != nil {
		t.Fatal(err)
	}
	s.wantCovers(g, b.pid(), false)
	s.wantGate(a, syscall.SIGUSR1, b.pid(), false)
	s.wantGate(b, syscall.SIGUSR1, a.pid(), false)
	s.wantGate(a, syscall.SIGUSR1, a.pid(), true)
	if !slices.Contains(s.held(), b.pid()) {
		t.Error("an exempt process is not tracked any more")
	}
	if _, err := s.Audit(t.Context()); err != nil { // inserts what is missing
		t.Fatal(err)
	}
	s.wantCovers(g, b.pid(), false)
	if err := g.Cover(b.pid()); err != nil {
		t.Fatal(err)
	}
	s.wantGate(a, syscall.SIGUSR1, b.pid(), true)
}

func (s *scene) wantCovers(g *tracker.Gate, pid selector.PID, want bool) {
	s.t.Helper()
	if covers, err := g.Covers(pid); err != nil || covers != want {
		s.t.Errorf("the gate covers %d: %t, %v, want %t", pid, covers, err, want)
	}
}

// The new image may be one that is served, so an exec ends the exemption.
func TestGate_ExemptExecs_Covers(t *testing.T) {
	t.Parallel()
	s, g := newGate(t, nil)
	if g == nil {
		return
	}
	server, a := s.serve(testfleet.Behaviour{}), s.candidate()
	if err := g.Exempt(server.PID(), time.Now()); err != nil {
		t.Fatal(err)
	}
	s.wantGate(a, syscall.SIGUSR1, server.PID(), false)
	if err := server.AwaitArmed(s.within(), 1); err != nil {
		t.Fatal(err)
	}
	s.wantCovers(g, server.PID(), true)
	s.wantGate(a, syscall.SIGUSR1, server.PID(), true)
}

// The process that was inspected ran another program.
func TestGate_ExecAfterInspection_StaysCovered(t *testing.T) {
	t.Parallel()
	s, g := newGate(t, nil)
	if g == nil {
		return
	}
	inspected := time.Now()
	p := s.candidate()
	if err := g.Exempt(p.pid(), inspected); err != nil {
		t.Fatal(err)
	}
	s.wantCovers(g, p.pid(), true)
}
