// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"cmp"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
)

// TestTrigger_BinaryExits_CostsOneOfEachUser: by every form of the command.
func TestTrigger_BinaryExits_CostsOneOfEachUser(t *testing.T) {
	takesLong(t)
	needRoot(t)
	for name, form := range map[string]struct {
		hasService, hasPath bool
		flags               []string
	}{
		"all":               {},
		"one install":       {hasPath: true},
		"no service":        {hasPath: true, flags: []string{"--no-service"}},
		"a service":         {hasService: true},
		"install, service":  {hasService: true, hasPath: true},
		"left to a service": {hasService: true, flags: []string{"--no-wait"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			withEachSource(t, func(t *testing.T, source string) {
				t.Parallel()
				h, s := newWholeHost(t), newScene(t)
				users := [][]*testfleet.Server{h.start(s, 4101, 5), h.start(s, 4102, 5)}
				args := append([]string{"trigger", "--run-dir", filepath.Dir(h.socket)}, form.flags...)
				if form.hasPath {
					args = append(args, "--install-path", s.Path())
				}
				if form.hasService {
					h.serve(source)
					h.knows(2)
				} else {
					args = append(args, "--name", h.name, "--source", source, "--hold", "200ms")
				}
				must(t, s.Replace("/bin/false"))
				code, stdout, stderr := command(t, args...)
				if code == exitOK && !slices.Contains(args, "--no-wait") {
					t.Errorf("it succeeds\n%s%s", stdout, stderr)
				}
				for _, servers := range users {
					eventually(t, "a canary has ended", func() bool { return dead(servers) > 0 })
				}
				if form.hasService {
					eventually(t, "the rollout is halted", func() bool {
						return slices.ContainsFunc(h.status().Rollouts, func(r rollout.Report) bool { return r.Phase == rollout.PhaseHalted })
					})
				}
				for _, servers := range users {
					if n := dead(servers); n != 1 {
						t.Errorf("%d servers of a user died, want one\n%s%s", n, stdout, stderr)
					}
				}
			})
		})
	}
}

// followed runs a trigger, and takes its outcome apart. There is none where the install is not ready.
func followed(t *testing.T, wantCode int, args ...string) (o outcome, stderr string) {
	t.Helper()
	code, stdout, stderr := command(t, append([]string{"trigger", "-o", "json"}, args...)...)
	err := json.Unmarshal([]byte(cmp.Or(stdout, "{}")), &o)
	if err != nil || code != wantCode {
		t.Errorf("%v: exit code %d, want %d, %v\n%s%s", args, code, wantCode, err, stdout, stderr)
	}
	return o, stderr
}

// TestTrigger_AllDieLater_FollowsEach: the first death halts the rollout while the others still run.
func TestTrigger_AllDieLater_FollowsEach(t *testing.T) {
	takesLong(t)
	t.Parallel()
	s := newScene(t)
	fleet := s.startFleet(4, func(o *testfleet.Options) { o.Behaviour = crashesLater() })
	s.replace()
	o, stderr := followed(t, exitFailure, "--install-path", s.Path(), "--source", "proc", "--settle", "1ms", "--canary", "0", "--hold", "3s")
	if o.Rollout.Servers[rollout.Crashed] != 4 || dead(fleet) != 4 || o.Rollout.Phase == rollout.PhaseComplete || !strings.Contains(stderr, "servers died: 4;") {
		t.Errorf("%d died, reported: %+v\n%s", dead(fleet), o.Rollout, stderr)
	}
}

// TestTrigger_ByService_ItsInstallOnly: in table, JSON and exit code.
func TestTrigger_ByService_ItsInstallOnly(t *testing.T) {
	takesLong(t)
	t.Parallel()
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		h, ours, theirs := newWholeHost(t), newScene(t), newScene(t)
		uid := uint32(os.Getuid())
		var deaf []selector.PID
		for range 2 {
			deaf = append(deaf, ours.start(func(o *testfleet.Options) { o.Argv0, o.Behaviour.NeverArm = h.name, true }).PID())
		}
		h.start(theirs, uid, 3)
		h.serve(source)
		h.knows(2)
		runDir := []string{"--run-dir", filepath.Dir(h.socket)}
		args := append(runDir, "--install-path", ours.Path())
		must(t, theirs.Replace("/bin/false"))
		ours.replace()
		o, _ := followed(t, exitBehind, args...)
		for _, m := range o.Servers {
			if !slices.Contains(deaf, m.PID) || m.State != rollout.Skipped {
				t.Errorf("%+v is listed, which is none of %v", m, deaf)
			}
		}
		if len(o.Servers) != len(deaf) || o.Rollout.Phase != phaseIncomplete {
			t.Errorf("the outcome is %+v", o)
		}
		code, stdout, stderr := command(t, append([]string{"trigger", "--no-wait", "-o", "json"}, args...)...)
		var r api.Report
		if err := json.Unmarshal([]byte(stdout), &r); err != nil || code != exitBehind || len(r.Plan) != 0 ||
			slices.ContainsFunc(r.Servers, func(s api.Server) bool { return !slices.Contains(deaf, s.PID) }) {
			t.Errorf("--no-wait: exit code %d, %v, want %d\n%s%s", code, err, exitBehind, stdout, stderr)
		}
		// No server names that path: there is nothing to wait for.
		code, stdout, stderr = command(t, "trigger", runDir[0], runDir[1], "--install-path", newScene(t).Path())
		if code != exitOK || stdout != "nothing to do: no servers\n" {
			t.Errorf("an install of no server: exit code %d\n%s%s", code, stdout, stderr)
		}
	})
}

func TestTrigger_ServerIgnoresSignal_IsIncomplete(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.start(func(o *testfleet.Options) { o.Behaviour.Ignore = true })
	s.replace()
	began := time.Now()
	o, _ := followed(t, exitBehind, "--install-path", s.Path(), "--source", "proc", "--settle", "1ms",
		"--max-attempts", "1", "--confirm-timeout", "300ms", "--retry-after", "300ms")
	if o.Rollout.Phase != phaseIncomplete || o.Rollout.Servers[rollout.GaveUp] != 1 || time.Since(began) < 300*time.Millisecond {
		t.Errorf("the outcome is %+v", o)
	}
}
