// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/stage"
	"ebpf-upgrader/test/testfleet"
)

// stageFile stages a copy of a file for the install of a scene, by rename.
func (s *scene) stageFile(text []byte) {
	s.t.Helper()
	next := stage.NextPath(s.Path())
	if err := os.WriteFile(next+".part", text, 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(next+".part", next); err != nil {
		s.t.Fatal(err)
	}
}

// stageGood stages a working server with a content of its own.
func (s *scene) stageGood() {
	s.t.Helper()
	text, err := os.ReadFile(thisBinary(s.t))
	if err != nil {
		s.t.Fatal(err)
	}
	s.stageFile(append(text, "next"...)) // the kernel ignores what follows the program
}

// staged waits until the staged path of the scene is as wanted.
func (s *scene) staged(c *control.Client, what string, is func(api.Staged) bool) (last api.Staged) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("%s: %s", s.Path(), what), func() bool {
		status, err := c.Status(within(s.t))
		if err != nil || len(status.Staged) != 1 {
			return false
		}
		last = status.Staged[0]
		return is(last)
	})
	return last
}

// in is the condition that a staged path is in a state.
func in(want stage.State) func(api.Staged) bool {
	return func(s api.Staged) bool { return s.State == string(want) }
}

// ready is the status code of /readyz/fleet. fleet ready must say the same.
func (s *service) ready(t *testing.T) int {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", s.socket)
	}}}
	answer, err := client.Get("http://service/readyz/fleet")
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	code, _, stderr := command(t, "fleet", "ready", "--socket", s.socket)
	if isReady := answer.StatusCode == http.StatusOK; (code == exitOK) != isReady || (stderr == "") != isReady {
		t.Errorf("fleet ready: %d %s; /readyz/fleet: %s", code, stderr, answer.Status)
	}
	return answer.StatusCode
}

func TestStage_Activate_UpgradesAndRollsBack(t *testing.T) {
	needRoot(t)
	t.Parallel()
	s := newScene(t)
	before, err := s.Image()
	if err != nil {
		t.Fatal(err)
	}
	server := s.start(nil)
	p := s.serve("proc", "--stage", s.Path())
	c := p.client(t)
	s.stageGood()
	wanted := s.staged(c, "is wanted and checked", func(s api.Staged) bool { return s.State == string(stage.Wanted) && s.Preflight != nil })
	if wanted.Preflight.Problem != "" {
		t.Fatalf("preflight: %+v", wanted.Preflight)
	}
	if now, err := s.Image(); err != nil || now != before {
		t.Fatalf("installed %v (%v) without activate, want %v", now, err, before)
	}
	if code := p.ready(t); code != http.StatusOK {
		t.Errorf("ready: %d", code)
	}
	code, stdout, stderr := command(t, "activate", s.Path(), "--wait", "--bake", "1ms", "--socket", p.socket)
	if code != exitOK || !strings.Contains(stdout, "is in place at") {
		t.Fatalf("activate: %d %s%s", code, stdout, stderr)
	}
	s.upgraded(server)
	s.staged(c, "is proven", in(stage.Proven))
	code, stdout, stderr = command(t, "activate", s.Path(), "--wait", "--socket", p.socket)
	if code != exitOK {
		t.Errorf("activate again: %d %s%s", code, stdout, stderr)
	}

	code, stdout, stderr = command(t, "rollback", s.Path(), "--socket", p.socket)
	if code != exitOK || !strings.Contains(stdout, "stays migrated") {
		t.Fatalf("rollback: %d %s%s", code, stdout, stderr)
	}
	if now, err := s.Image(); err != nil || now != before {
		t.Errorf("installed %v (%v), want %v", now, err, before)
	}
	s.upgraded(server) // to the file before
	if code := p.ready(t); code != http.StatusServiceUnavailable {
		t.Errorf("ready after a rollback: %d", code)
	}
	code, _, stderr = command(t, "activate", s.Path(), "--wait", "--socket", p.socket)
	if code != exitFailure || !strings.Contains(stderr, "rolled back by an operator") {
		t.Errorf("activate after a rollback: %d %s", code, stderr)
	}
	_, events, _ := command(t, "events", "--kind", "stage", "--socket", p.socket)
	for _, state := range []string{": wanted", ": seated", ": activated", ": baking", ": proven", ": failed"} {
		if !strings.Contains(events, state) {
			t.Errorf("no event %q:\n%s", state, events)
		}
	}
	metrics := p.get(t, "/metrics")
	for _, want := range []string{
		`activations_total{result="proven"} 1`, `activations_total{result="failed"} 1`, "preflight_failures_total 0",
		`staged{path="` + s.Path() + `",state="failed"} 1`,
	} {
		if !strings.Contains(metrics, "\nebpf_upgrader_"+want+"\n") {
			t.Errorf("the metrics lack %s", want)
		}
	}
}

// TestStage_ActivateAtOnce_IsNotMissed: a script stages a file and activates it, before the service can have seen it.
func TestStage_ActivateAtOnce_IsNotMissed(t *testing.T) {
	needRoot(t)
	t.Parallel()
	s := newScene(t)
	p := s.serve("proc", "--stage", s.Path())
	p.client(t)
	text, err := os.ReadFile(serverBinary())
	must(t, err)
	for _, more := range []string{"one", "two"} {
		want := append(text, more...)
		s.stageFile(want)
		code, stdout, stderr := command(t, "activate", s.Path(), "--wait", "--bake", "1ms", "--socket", p.socket)
		if now, err := os.ReadFile(s.Path()); code != exitOK || err != nil || !bytes.Equal(now, want) {
			t.Fatalf("%s: activate: %d %s%s, and another file is installed (%v)", more, code, stdout, stderr, err)
		}
	}
}

func TestStage_BadFile_IsNotPutInPlace(t *testing.T) {
	needRoot(t)
	t.Parallel()
	s := newScene(t)
	before, err := s.Image()
	if err != nil {
		t.Fatal(err)
	}
	p := s.serve("proc", "--stage", s.Path())
	c := p.client(t)
	s.stageFile([]byte("#!/bin/sh\nprintf 'no \\033[31mlibrary'\nexit 7\n"))
	s.staged(c, "is wanted", in(stage.Wanted))
	code, _, stderr := command(t, "activate", s.Path(), "--wait", "--socket", p.socket)
	if code != exitFailure || !strings.Contains(stderr, "--version ended with exit code 7") || !strings.Contains(stderr, `no \x1b[31mlibrary`) {
		t.Errorf("activate: %d %q", code, stderr)
	}
	if now, err := s.Image(); err != nil || now != before {
		t.Errorf("installed %v (%v), want %v", now, err, before)
	}
	_, status, _ := command(t, "status", "--socket", p.socket)
	if !strings.Contains(status, "preflight failed") || !strings.Contains(status, `no \x1b[31mlibrary`) {
		t.Errorf("status:\n%s", status)
	}
}

// TestStage_Halt_IsRolledBack: the check passes, and a server dies of the file all the same. New sessions start with the file
// before at once.
func TestStage_Halt_IsRolledBack(t *testing.T) {
	needRoot(t)
	t.Parallel()
	s := newScene(t)
	before, err := s.Image()
	if err != nil {
		t.Fatal(err)
	}
	servers := s.startFleet(5, func(o *testfleet.Options) {
		o.Behaviour = testfleet.Behaviour{Later: &testfleet.Behaviour{From: 1, End: &testfleet.End{Code: 1}}}
	})
	p := s.serve("proc", "--stage", s.Path(), "--stage-rollback")
	c := p.client(t)
	s.stageGood()
	s.staged(c, "is wanted", in(stage.Wanted))
	code, _, stderr := command(t, "activate", s.Path(), "--wait", "--timeout", "50s", "--socket", p.socket)
	if code != exitFailure || !strings.Contains(stderr, "died") {
		t.Errorf("activate: %d %s", code, stderr)
	}
	s.staged(c, "is rolled back", func(s api.Staged) bool { return s.RolledBack })
	if now, err := s.Image(); err != nil || now != before {
		t.Errorf("installed %v (%v), want %v", now, err, before)
	}
	if n := dead(servers); n != 1 {
		t.Errorf("%d servers died, want 1", n)
	}
}

// TestStage_ServiceKilled_NextGoesOn kills the service after the word of the operator, at moments that differ.
func TestStage_ServiceKilled_NextGoesOn(t *testing.T) {
	needRoot(t)
	t.Parallel()
	s := newScene(t)
	server := s.start(nil)
	s.stageGood()
	p := newService(t)
	args := append(p.args(s.Path(), "proc"), "--stage", s.Path())
	t.Cleanup(func() { removeJournal(s.Path()) })
	for _, until := range []stage.State{stage.Wanted, stage.Activated, stage.Baking} {
		p.start(t, thisBinary(t), args)
		c := p.client(t)
		s.staged(c, "is wanted or further", func(s api.Staged) bool { return s.State != string(stage.Idle) })
		if until == stage.Wanted {
			if _, err := c.Activate(within(t), control.StageRequest{InstallPath: s.Path()}); err != nil {
				t.Fatal(err)
			}
		} else {
			s.staged(c, "goes on", func(s api.Staged) bool { return s.State == string(until) || s.State == string(stage.Baking) })
		}
		p.kill()
	}
	s.upgraded(server)
	if text, err := os.ReadFile(stage.PreviousPath(s.Path())); err != nil || strings.HasSuffix(string(text), "next") {
		t.Errorf("the file before is not kept: %v", err)
	}
	left, err := filepath.Glob(filepath.Join(s.Dir(), ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// TestStage_NotAsked_ChangesNothing: without --stage a file beside the install is no business of the service.
func TestStage_NotAsked_ChangesNothing(t *testing.T) {
	needRoot(t)
	t.Parallel()
	s := newScene(t)
	p := s.serve("proc")
	c := p.client(t)
	s.stageGood()
	code, _, stderr := command(t, "activate", s.Path(), "--socket", p.socket)
	if code != exitFailure || !strings.Contains(stderr, "--stage") {
		t.Errorf("activate: %d %s", code, stderr)
	}
	if status := s.status(c); status.Staged != nil {
		t.Errorf("%+v", status.Staged)
	}
	if code := p.ready(t); code != http.StatusOK {
		t.Errorf("ready: %d", code)
	}
}
