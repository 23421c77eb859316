// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/test/testfleet"
)

// startBusy starts a server that does something until the file is removed.
func (s *scene) startBusy() (server *testfleet.Server, work string) {
	s.t.Helper()
	work = filepath.Join(s.Dir(), "work")
	must(s.t, os.WriteFile(work, []byte("x"), 0o644))
	return s.start(func(o *testfleet.Options) { o.Behaviour.Busy = work }), work
}

// member is what a rollout of the service knows of a server.
func (s *scene) member(p *service, server *testfleet.Server) (m rollout.Member) {
	s.t.Helper()
	all, err := p.client(s.t).Servers(within(s.t))
	must(s.t, err)
	for _, one := range all {
		if one.PID == server.PID() && one.Rollout != nil {
			return *one.Rollout
		}
	}
	return m
}

func TestQuiet_BusyServer_IsWaitedFor(t *testing.T) {
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		s := newScene(t)
		busy, work := s.startBusy()
		idle := s.start(ofGroup("/another"))
		p := s.serve(source, "--quiet", "100ms", "--quiet-within", "1h")
		s.replace()
		s.upgraded(idle)
		if m := s.member(p, idle); m.Waited != 0 || m.Overran {
			t.Errorf("an idle server was waited for: %+v", m)
		}
		var m rollout.Member
		eventually(t, "the busy server has been waited for for a second", func() bool {
			m = s.member(p, busy)
			return !m.BusySince.IsZero() && time.Since(m.BusySince) > time.Second
		})
		if n := busy.Signals(); n != 0 || m.State != rollout.Pending || !strings.HasPrefix(m.Detail, "busy for ") {
			t.Errorf("while it is busy it has %d signals, and the service says %+v", n, m)
		}
		s.wantShown(p, busy)
		must(t, os.Remove(work))
		s.upgraded(busy)
		if m := s.member(p, busy); time.Duration(m.Waited) < time.Second || m.Overran {
			t.Errorf("after it was idle: %+v", m)
		}
	})
}

// wantShown wants to be told of a server that is waited for.
func (s *scene) wantShown(p *service, busy *testfleet.Server) {
	s.t.Helper()
	code, said, stderr := command(s.t, "status", "--socket", p.socket)
	if code != 0 || !strings.Contains(said, "waits") || !strings.Contains(said, "1 busy, the longest for ") {
		s.t.Errorf("status ends with %d and says\n%s%s", code, said, stderr)
	}
	code, said, stderr = command(s.t, "explain", busy.PID().String(), "--socket", p.socket)
	if code != 0 || !strings.Contains(said, ": busy for ") {
		s.t.Errorf("explain ends with %d and says\n%s%s", code, said, stderr)
	}
}

func TestQuiet_AlwaysBusy_SignalledAtTheLimit(t *testing.T) {
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		s := newScene(t)
		busy, _ := s.startBusy()
		p := s.serve(source, "--quiet", "100ms", "--quiet-within", "700ms")
		s.replace()
		s.upgraded(busy)
		m := s.member(p, busy)
		if waited := time.Duration(m.Waited); waited < 700*time.Millisecond || waited > 3*time.Second || !m.Overran {
			t.Errorf("the service waited %s: %+v", waited, m)
		}
	})
}

func TestQuiet_SwitchedOff_NoWait(t *testing.T) {
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		s := newScene(t)
		busy, _ := s.startBusy()
		p := s.serve(source, "--quiet", "0", "--quiet-within", "1h")
		s.replace()
		s.upgraded(busy)
		if m := s.member(p, busy); m.Waited != 0 || m.Overran {
			t.Errorf("the service waited: %+v", m)
		}
	})
}
