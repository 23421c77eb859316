// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/test/testfleet"
)

// ending is a server that upgrades, lives, and then ends in some way.
type ending struct {
	*testfleet.Server
	when string
}

// startEnding starts one of a user.
func (s *scene) startEnding(uid uint32, end testfleet.End) ending {
	s.t.Helper()
	end.When = filepath.Join(s.t.TempDir(), "lives")
	must(s.t, os.WriteFile(end.When, nil, 0o644))
	for dir := filepath.Dir(end.When); dir != os.TempDir(); dir = filepath.Dir(dir) {
		must(s.t, os.Chmod(dir, 0o755)) // for every user
	}
	return ending{s.start(func(o *testfleet.Options) {
		o.Credential = &testfleet.Credential{UID: uid, GID: uid}
		o.Behaviour = testfleet.Behaviour{Later: &testfleet.Behaviour{From: 1, End: &end}}
	}), end.When}
}

// ends lets servers end, and waits until the service knows that.
func (s *scene) ends(c *control.Client, all ...ending) {
	s.t.Helper()
	for _, e := range all {
		must(s.t, os.Remove(e.when))
	}
	eventually(s.t, "the service knows that the servers have ended", func() bool {
		known, err := c.Servers(within(s.t))
		return err == nil && !slices.ContainsFunc(known, func(k api.ServerStatus) bool {
			return slices.ContainsFunc(all, func(e ending) bool { return e.PID() == k.PID })
		})
	})
}

// startBehind starts a server of a user that runs the file before.
func (s *scene) startBehind(uid uint32) *testfleet.Server {
	s.t.Helper()
	return s.start(func(o *testfleet.Options) {
		o.Binary, o.Argv0 = serverBinary(), "rag-rat"
		o.Credential = &testfleet.Credential{UID: uid, GID: uid}
	})
}

// TestLateCrash_EachEnd_Counts: the server of each user ends in another way, after all have been upgraded. A crash halts the
// rollout for its user. No server is signalled because of it, until an operator resumes.
func TestLateCrash_EachEnd_Counts(t *testing.T) {
	needRoot(t)
	t.Parallel()
	cases := []struct {
		end  testfleet.End
		says string // empty: it does not count
	}{
		{testfleet.End{Signal: syscall.SIGSEGV}, "signal: segmentation fault"},
		{testfleet.End{Signal: syscall.SIGABRT}, "signal: aborted"},
		{testfleet.End{Code: 101}, "exit code 101"},
		{testfleet.End{Code: 70}, "exit code 70"},
		{testfleet.End{Code: 0}, ""},
		{testfleet.End{Code: 1}, ""},
		{testfleet.End{Signal: syscall.SIGTERM}, ""},
		{testfleet.End{Signal: syscall.SIGKILL}, ""},
	}
	s := newScene(t)
	const firstUID = 4700
	var all []ending
	var wantHalted, others []uint32
	for i, c := range cases {
		uid := uint32(firstUID + i)
		all = append(all, s.startEnding(uid, c.end))
		if c.says != "" {
			wantHalted = append(wantHalted, uid)
		} else {
			others = append(others, uid)
		}
	}
	p := s.serve("bpf")
	c := p.client(t)
	s.replace()
	for _, e := range all {
		s.upgraded(e.Server)
	}
	s.phase(c, rollout.PhaseComplete)
	s.ends(c, all...)
	halts := s.halted(c, wantHalted...)
	_, status, _ := command(t, "status", "--socket", p.socket)
	for i, h := range halts {
		want := fmt.Sprintf("upgraded server %d crashed: %s", all[i].PID(), cases[i].says)
		if !h.IsLate || !strings.HasPrefix(h.Reason, want) {
			t.Errorf("halted for %d: %q, want %q", h.UID, h.Reason, want)
		}
		if shown := fmt.Sprintf("server %d ", all[i].PID()); !strings.Contains(status, shown) || !strings.Contains(status, cases[i].says) {
			t.Errorf("the status lacks %q or %q:\n%s", shown, cases[i].says, status)
		}
	}
	if late := onlyRollout(s.status(c)).Late; late != len(wantHalted) {
		t.Errorf("%d late crashes, want %d", late, len(wantHalted))
	}
	stays, goesOn := s.startBehind(wantHalted[0]), s.startBehind(others[0])
	s.upgraded(goesOn)
	unharmed(t, stays)
	if _, err := c.Act(within(t), api.ActResume, control.ActRequest{}); err != nil {
		t.Fatal(err)
	}
	s.upgraded(stays)
	if n := goesOn.Signals(); n != 1 {
		t.Errorf("the other user's server got %d signals, want 1", n)
	}
}

// TestLateCrash_MaxLateTwo_NeedsTwo: the first crash halts nothing. The status names it, also after a restart.
func TestLateCrash_MaxLateTwo_NeedsTwo(t *testing.T) {
	needRoot(t)
	t.Parallel()
	const uid = 4720
	s := newScene(t)
	all := []ending{s.startEnding(uid, testfleet.End{Code: 101}), s.startEnding(uid, testfleet.End{Code: 101})}
	p := s.serve("bpf", "--max-late", "2")
	c := p.client(t)
	s.replace()
	for _, e := range all {
		s.upgraded(e.Server)
	}
	s.phase(c, rollout.PhaseComplete)
	s.ends(c, all[0])
	if r := onlyRollout(s.status(c)); r.Late != 1 || len(r.Halts) != 0 {
		t.Fatalf("after one crash: %d late, halts %+v", r.Late, r.Halts)
	}
	_, events, _ := command(t, "events", "--kind", "server", "--socket", p.socket)
	if !strings.Contains(events, "exit code 101") {
		t.Errorf("no event names the crash:\n%s", events)
	}
	named := regexp.MustCompile(fmt.Sprintf(`late +.*: 1 upgraded server crashed\n +uid %d, [0-9]+ s ago: server %d in .* died: exit code 101, `, uid, all[0].PID()))
	for _, when := range []string{"at first", "after a restart"} {
		if _, status, _ := command(t, "status", "--socket", p.socket); !named.MatchString(status) {
			t.Errorf("%s: the status does not name the crash:\n%s", when, status)
		}
		if when == "at first" {
			p.stop()
			p = p.again(t, s.Path(), "bpf", "--max-late", "2")
			c = p.client(t)
			s.phase(c, rollout.PhaseComplete)
		}
	}
	s.ends(c, all[1])
	s.halted(c, uid)
	if _, status, _ := command(t, "status", "--socket", p.socket); strings.Contains(status, "\nlate ") {
		t.Errorf("the status names crashes twice:\n%s", status)
	}
}

// TestLateCrash_AfterLateWithin_IsNone: a crash that comes later has other causes, as far as can be told.
func TestLateCrash_AfterLateWithin_IsNone(t *testing.T) {
	needRoot(t)
	t.Parallel()
	s := newScene(t)
	one := s.startEnding(4730, testfleet.End{Signal: syscall.SIGSEGV})
	c := s.serve("bpf", "--late-within", "1ms").client(t)
	s.replace()
	s.upgraded(one.Server)
	s.phase(c, rollout.PhaseComplete)
	s.ends(c, one)
	if r := onlyRollout(s.status(c)); r.Late != 0 || len(r.Halts) != 0 {
		t.Errorf("%d late, halts %+v", r.Late, r.Halts)
	}
}
