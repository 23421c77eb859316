// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/controller"
	"ebpf-upgrader/internal/daemon"
	"ebpf-upgrader/internal/registry"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/internal/screen"
	"ebpf-upgrader/selector"
)

// exampleNow is the time of the golden files.
var exampleNow = time.Date(2026, 11, 30, 16, 0, 0, 0, time.Local)

func before(d time.Duration) time.Time { return exampleNow.Add(-d) }

// exampleFile is an installed file with a build.
func exampleFile(path string, ino uint64, version string, installed time.Duration) selector.Install {
	return selector.Install{
		Path: path, Image: selector.Image{Dev: 65024, Ino: ino}, State: selector.StateReady, Size: 33_000_000,
		Build: selector.Build{BuildID: strings.Repeat("3f2a1cd4", 5), Version: version}, Modified: before(installed), Changed: before(installed),
	}
}

// exampleStatus has an install of each kind: halted, shared by users and containers, truncated, and one of long ago.
func exampleStatus() control.Status {
	bad := exampleFile("/home/ana/.cargo/bin/rag-rat", 41, "1.4.3", 15*time.Second)
	shared := exampleFile("/usr/local/bin/rag-rat", 42, "1.4.2", 3*time.Minute)
	old := exampleFile("/home/bob/.cache/agents/plugins/marketplace/rag-rat/1.4.2/bin/rag-rat", 43, "1.4.2", 50*time.Hour)
	truncated := exampleFile("/srv/\x1b[2Jodd/rag-rat", 44, "", 2*time.Hour)
	truncated.Build, truncated.State, truncated.Detail = selector.Build{}, selector.StateUnready, "is truncated: a segment is 491857 bytes at 4096, the file 300000"
	from := selector.Binary{Image: selector.Image{Dev: 65024, Ino: 40}, Build: selector.Build{BuildID: "08c12ab4ffff", Version: "1.4.1"}}
	return control.Status{
		SchemaVersion: api.SchemaVersion,
		Info:          control.Info{Version: "1.2", PID: 7, Started: before(51 * time.Hour), PIDNamespace: daemon.HostNamespace, Serves: api.Serves{Names: []string{"rag-rat"}}},
		Status: api.Status{
			Source: api.SourceBPF, Learned: true,
			Verdicts: map[selector.Verdict]int{selector.Outdated: 2, selector.UpToDate: 12, selector.UnreadyInstall: 1, selector.NotArmed: 1},
			Installs: []api.InstallStatus{
				{Install: bad, UID: 4001, Servers: 2, Rollout: 7},
				{Install: old, UID: 4002, Servers: 2, Rollout: 3},
				{Install: shared, UID: 4001, Servers: 4, Rollout: 5},
				{Install: shared, UID: 4002, Servers: 3, Rollout: 5},
				{Install: shared, UID: 4003, Container: strings.Repeat("0a1b2c3d", 8), Servers: 3, Rollout: 5},
				{Install: truncated, UID: 4003, Servers: 1},
			},
			Rollouts: []rollout.Report{
				{Number: 3, Install: old, Started: before(50 * time.Hour), LastOutcome: before(50*time.Hour - 4200*time.Millisecond), Phase: rollout.PhaseComplete, Servers: map[rollout.State]int{rollout.Upgraded: 2}, From: from},
				{Number: 5, Install: shared, Started: before(3 * time.Minute), LastOutcome: before(3*time.Minute - 4200*time.Millisecond), Phase: rollout.PhaseComplete, Servers: map[rollout.State]int{rollout.Upgraded: 9, rollout.GaveUp: 1}, From: from},
				{
					Number: 7, Install: bad, Started: before(15 * time.Second), Phase: rollout.PhaseHalted, Deaths: 1, From: from,
					Servers: map[rollout.State]int{rollout.Pending: 2, rollout.Crashed: 1},
					Halts: []rollout.Halt{{
						UID: 4001, Reason: "server 46 died: exit code 101", Since: before(14 * time.Second), Behind: 2, Next: 47,
						Deaths: []rollout.ServerDeath{{PID: 46, At: before(14 * time.Second), Detail: "exit code 101", ExecedAt: before(14*time.Second + 20*time.Millisecond), WorkDir: "/home/ana/src/a\x1b[2J"}},
					}},
				},
			},
		},
		Gate:    api.Gate{Active: true, Way: "fmod_ret"},
		Tracker: &api.Tracker{Entries: 16, Capacity: 32768},
	}
}

func exampleNames() *userNames {
	n := newUserNames()
	n.lookup = func(uid string) (string, error) {
		return map[string]string{"4001": "ana", "4002": "bob"}[uid], nil
	}
	return n
}

// golden compares a text with a file, or writes that with -update.
func golden(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join("testdata", "screen", name+".golden")
	if *updateScripts {
		must(t, os.WriteFile(path, []byte(text), 0o644))
		return
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if diff := cmp.Diff(string(want), text); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", path, diff)
	}
}

var exampleLooks = map[string]view{
	"pipe":    {},
	"80":      {Look: screen.Look{Width: 80}},
	"200":     {Look: screen.Look{Width: 200, HasColor: true}},
	"wide":    {Look: screen.Look{Width: 80}, isWide: true},
	"verbose": {Look: screen.Look{Width: 120}, isVerbose: true},
}

func TestStatus_Screens_AreGolden(t *testing.T) {
	t.Parallel()
	for name, v := range exampleLooks {
		v.names, v.now = exampleNames(), exampleNow
		var out bytes.Buffer
		must(t, printStatus(&out, statusJSON{Status: exampleStatus(), Health: healthOf(exampleStatus(), v.names)}, v))
		for line := range strings.Lines(out.String()) {
			if n := len([]rune(strings.TrimSuffix(line, "\n"))); v.Width > 0 && !v.HasColor && !v.isWide && n > v.Width {
				t.Errorf("%s: %d columns: %q", name, n, line)
			}
		}
		golden(t, "status-"+name, out.String())
	}
}

// exampleServers are the servers of the halted install.
func exampleServers() []api.ServerStatus {
	server := func(pid selector.PID, state rollout.State, wait rollout.Wait) api.ServerStatus {
		s := api.ServerStatus{Wait: wait, Runs: selector.Build{Version: "1.4.1", BuildID: "08c12ab4ffff"}}
		s.PID, s.UID, s.UpgradeBin, s.Verdict = pid, 4001, "/home/ana/.cargo/bin/rag-rat", selector.Outdated
		s.WorkDir = "/home/ana/src/project"
		s.Rollout = &rollout.Member{PID: pid, UID: 4001, Rollout: 7, State: state, Since: before(14 * time.Second), Group: rollout.Group{User: 4001, DataDir: "/home/ana/.local/share/rag-rat"}}
		return s
	}
	halted := rollout.Wait{For: rollout.WaitResume, Why: "rollout 7 is halted for its user: server 46 died: exit code 101", Since: before(14 * time.Second)}
	return []api.ServerStatus{server(47, rollout.Pending, halted), server(48, rollout.Pending, halted)}
}

func TestStatus_Install_IsGolden(t *testing.T) {
	t.Parallel()
	for name, v := range exampleLooks {
		v.names, v.now = exampleNames(), exampleNow
		a := statusJSON{Status: exampleStatus(), Servers: exampleServers()}
		a.only("/home/ana/.cargo/bin/rag-rat")
		a.Health = healthOf(a.Status, v.names)
		var out bytes.Buffer
		must(t, printInstall(&out, a, v))
		golden(t, "install-"+name, out.String())
	}
}

func TestHealth_EachState_HasItsCode(t *testing.T) {
	t.Parallel()
	type counts = map[rollout.State]int
	with := func(phase rollout.Phase, servers counts, halts ...rollout.Halt) control.Status {
		return control.Status{Status: api.Status{
			Verdicts: map[selector.Verdict]int{selector.UpToDate: 2},
			Rollouts: []rollout.Report{{Number: 5, Install: selector.Install{Path: "/bin/rag-rat"}, Phase: phase, Servers: servers, Halts: halts}},
		}}
	}
	paused := with(rollout.PhasePaused, counts{rollout.Pending: 1})
	paused.Paused = true
	blocked := with(rollout.PhaseCanary, counts{rollout.Pending: 1})
	blocked.JournalError = "disk full"
	unready := control.Status{Status: api.Status{Installs: []api.InstallStatus{{Install: selector.Install{State: selector.StateUnready, Detail: "is truncated"}, Servers: 3}}}}
	unreported := control.Status{Status: api.Status{Installs: []api.InstallStatus{{Install: selector.Install{State: selector.StateUnready, Detail: registry.ReasonUnreported}, Servers: 3}}}}
	for _, c := range []struct {
		status    control.Status
		code      int
		summary   string
		isSettled bool
	}{
		{with(rollout.PhaseComplete, counts{rollout.Upgraded: 2}), exitOK, "fine: 2 servers up to date", true},
		{with(rollout.PhaseComplete, counts{rollout.Upgraded: 2, rollout.GaveUp: 1}), exitBehind, "1 server behind", true},
		{with(rollout.PhaseRolling, counts{rollout.Pending: 2}), exitBehind, "2 servers behind, rollout 5 under way", false},
		{with(rollout.PhaseRolling, counts{rollout.Settling: 2}), exitBehind, "upgraded servers must live for a moment, rollout 5 under way", false},
		{with(rollout.PhaseHalted, counts{rollout.Pending: 2, rollout.Crashed: 1}, rollout.Halt{UID: 4002}), exitFailure, "HALTED: 2 servers of bob stay on the old binary of /bin/rag-rat", true},
		{with(rollout.PhaseFailed, counts{rollout.Crashed: 1}), exitFailure, "FAILED: 1 server died of /bin/rag-rat", true},
		{paused, exitBehind, "PAUSED: 1 server behind", true},
		{blocked, exitFailure, "BLOCKED: disk full: no server is signalled until the journal can be written", true},
		{unready, exitBehind, "3 servers behind", true},
		{unreported, exitBehind, "starting: the installs are looked at", false},
		{control.Status{}, exitOK, "fine: no servers", true},
	} {
		h := healthOf(c.status, exampleNames())
		if h.code() != c.code || h.Summary != c.summary || h.IsSettled != c.isSettled {
			t.Errorf("%+v with code %d, want %d, %q, %t", h, h.code(), c.code, c.summary, c.isSettled)
		}
	}
}

// TestNames_SlowLookups_HaveALimit: a directory service that does not answer costs half a second in all.
func TestNames_SlowLookups_HaveALimit(t *testing.T) {
	t.Parallel()
	n := newUserNames()
	n.lookup = func(string) (string, error) { select {} }
	began := time.Now()
	for uid := range uint32(100) {
		if got := n.of(uid); got != fmt.Sprint(uid) {
			t.Fatalf("user %d is called %q", uid, got)
		}
	}
	if took := time.Since(began); took > 10*nameTimeout {
		t.Errorf("the names took %s", took)
	}
}

// cannedService gives the answers that it was made with.
type cannedService struct {
	*controller.Controller
	status api.Status
}

func (c cannedService) Status(context.Context) (api.Status, error) { return c.status, nil }

// BenchmarkStatus_ThousandServers is the whole command with 50 installs and 1,000 servers of as many users.
func BenchmarkStatus_ThousandServers(b *testing.B) {
	status := exampleStatus().Status
	for i := range 50 {
		file := exampleFile(fmt.Sprintf("/home/user%d/.cargo/bin/rag-rat", i), uint64(1000+i), "1.4.2", time.Minute)
		status.Rollouts = append(status.Rollouts, rollout.Report{Number: uint64(100 + i), Install: file, Phase: rollout.PhaseComplete, Servers: map[rollout.State]int{rollout.Upgraded: 20}})
		for uid := range 20 {
			status.Installs = append(status.Installs, api.InstallStatus{Install: file, UID: uint32(100_000 + 20*i + uid), Servers: 1, Rollout: uint64(100 + i)})
		}
	}
	dir, err := os.MkdirTemp("", "eu-")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	socket := filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() {
		done <- control.NewServer(onBareHost(control.Config{Service: cannedService{status: status}, Feed: control.NewFeed()})).Serve(ctx, l)
	}()
	for b.Loop() {
		var out, errors bytes.Buffer
		if code := run(ctx, []string{"status", "--socket", socket}, &out, &errors); code != exitOK {
			b.Fatalf("exit code %d: %s", code, errors.String())
		}
	}
	cancel()
	if err := <-done; err != nil {
		b.Error(err)
	}
}
