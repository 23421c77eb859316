// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/test/testfleet"
)

func allEvents(t *testing.T, c *control.Client) (all []control.Event) {
	t.Helper()
	must(t, c.Events(within(t), control.EventQuery{}, func(e control.Event) error {
		all = append(all, e)
		return nil
	}))
	return all
}

func allRollouts(t *testing.T, c *control.Client) []api.RolloutRecord {
	t.Helper()
	all, err := c.History(within(t), control.EventFilter{})
	must(t, err)
	return all
}

// TestHistory_KilledInRollout_HasItOnce: the service is killed when one of five servers is upgraded, and started anew. The
// rollout is there once, with all five; so are the events of before, and numbers go on.
func TestHistory_KilledInRollout_HasItOnce(t *testing.T) {
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		s := newScene(t)
		fleet := s.startFleet(5, nil)
		p := newService(t)
		args := append(p.args(s.Path(), source), "--max-in-flight", "1", "--hold", "300ms", "--confirm-timeout", "5s", "--retry-after", "5s")
		p.start(t, thisBinary(t), args)
		c := p.client(t)
		s.replace()
		var before []control.Event
		var first control.Event
		eventually(t, "the first server is upgraded", func() bool {
			before = allEvents(t, c)
			i := slices.IndexFunc(before, func(e control.Event) bool { return e.Kind == control.EventServer && *e.State == rollout.Upgraded })
			if i >= 0 {
				first = before[i]
			}
			return i >= 0
		})
		p.kill()
		next := &service{socket: p.socket, stateDir: p.stateDir}
		next.serve(t, args)
		c = next.client(t)
		s.allUpgraded(fleet)
		s.phase(c, rollout.PhaseComplete)

		records := allRollouts(t, c)
		if len(records) != 1 {
			t.Fatalf("%d rollouts, want 1: %+v", len(records), records)
		}
		r := records[0]
		if r.Number != first.Rollout || r.Phase != rollout.PhaseComplete || r.Servers[rollout.Upgraded] != 5 ||
			!r.Current || r.Ended.IsZero() || len(r.From) != 1 || r.Started.After(first.Time) {
			t.Errorf("the rollout is %+v", r)
		}
		all := allEvents(t, c)
		upgraded := make(map[string]bool)
		for i, e := range all {
			if e.Seq != uint64(i+1) || i < len(before) && (e.Kind != before[i].Kind || !e.Time.Equal(before[i].Time)) {
				t.Fatalf("event %d is %+v", i+1, e)
			}
			if e.Kind == control.EventServer && *e.State == rollout.Upgraded {
				upgraded[e.PID.String()] = true
				if e.Path != s.Path() || e.UID == nil || e.FromImage == nil || e.Image == nil || *e.FromImage == *e.Image {
					t.Errorf("the event of an upgrade lacks path, user or images: %+v", e)
				}
			}
		}
		if len(all) <= len(before) || len(upgraded) != 5 {
			t.Errorf("%d events, %d before the kill; %d servers upgraded in them, want 5", len(all), len(before), len(upgraded))
		}
	})
}

// TestHistory_DiskFull_ServersUpgrade: status and metrics say that the history is not kept. With room it is kept again.
func TestHistory_DiskFull_ServersUpgrade(t *testing.T) {
	needRoot(t)
	t.Parallel()
	s := newScene(t)
	server := s.start(nil)
	p := newService(t)
	must(t, os.Mkdir(p.stateDir, 0o700))
	must(t, unix.Mount("test", p.stateDir, "tmpfs", 0, "size=64k,mode=700"))
	t.Cleanup(func() { must(t, unix.Unmount(p.stateDir, unix.MNT_DETACH)) })
	room := fill(t, p.stateDir)
	p.serve(t, p.args(s.Path(), "proc"))
	c := p.client(t)
	s.replace()
	s.upgraded(server)
	s.phase(c, rollout.PhaseComplete)
	eventually(t, "the status says so", func() bool { return strings.Contains(s.status(c).HistoryError, "no space left on device") })
	if len(allRollouts(t, c)) != 1 || !strings.Contains(p.get(t, "/metrics"), "ebpf_upgrader_history_lost_total 0") {
		t.Error("the service itself has the rollout, and nothing is lost yet")
	}
	room()
	eventually(t, "the history is kept", func() bool { return s.status(c).HistoryError == "" })
	p.stop()
	log := p.messages.String()
	if n := strings.Count(log, "history of events and rollouts is not kept"); n == 0 || n > 2 { // events and rollouts have a file each
		t.Errorf("the log says %d times that the history is not kept:\n%s", n, log)
	}
	next := p.again(t, s.Path(), "proc")
	if records := allRollouts(t, next.client(t)); len(records) != 1 || records[0].Servers[rollout.Upgraded] != 1 {
		t.Errorf("the next service has %+v", records)
	}
}

// TestHistory_Damaged_ServiceStarts with what can be read, says so, and goes on with the numbers.
func TestHistory_Damaged_ServiceStarts(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	server := s.start(nil)
	first := s.serve("proc")
	s.replace()
	s.upgraded(server)
	s.phase(first.client(t), rollout.PhaseComplete)
	last := allEvents(t, first.client(t))
	first.stop()
	files, err := filepath.Glob(filepath.Join(first.stateDir, "*.jsonl"))
	if err != nil || len(files) != 2 {
		t.Fatalf("the history is in %v: %v", files, err)
	}
	for _, path := range files {
		file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		must(t, err)
		_, err = file.WriteString(`{"n":1` + strings.Repeat("0", 300_000) + "\n\x00\xff\n" + `{"n":99,"user":0,"entry":{"schema_version":4,"seq":99,"kind":"server"}}` + "\n" + `{"n":5`)
		must(t, err)
		must(t, file.Close())
	}
	next := first.again(t, s.Path(), "proc")
	c := next.client(t)
	if why := s.status(c).HistoryError; strings.Count(why, "damaged lines are left out") != 2 {
		t.Errorf("the status says %q of two damaged files", why)
	}
	if all := allEvents(t, c); len(all) < len(last) || all[len(last)-1].Seq != uint64(len(last)) {
		t.Errorf("%d events, want the %d of before and more", len(all), len(last))
	}
	if records := allRollouts(t, c); len(records) != 1 || records[0].Servers[rollout.Upgraded] != 1 {
		t.Errorf("the rollouts are %+v", records)
	}
}

// TestHistory_StateFrozen_StopsNothing: every write to the state directory waits.
func TestHistory_StateFrozen_StopsNothing(t *testing.T) {
	needRoot(t)
	t.Parallel()
	s := newScene(t)
	fleet := s.startFleet(3, nil)
	p := newService(t)
	_ = frozen(t, p.stateDir)
	p.serve(t, p.args(s.Path(), "proc"))
	c := p.client(t)
	s.replace()
	s.allUpgraded(fleet)
	s.phase(c, rollout.PhaseComplete)
	if n := len(allRollouts(t, c)); n != 1 {
		t.Errorf("%d rollouts, want 1", n)
	}
	began := time.Now()
	if p.stop(); time.Since(began) > 10*time.Second {
		t.Errorf("the service took %s to end", time.Since(began))
	}
}

// TestHistory_TwoUsers_EachHasTheirs: the filter by user shows the servers and deaths of that user only.
func TestHistory_TwoUsers_EachHasTheirs(t *testing.T) {
	needRoot(t)
	t.Parallel()
	const unlucky, lucky = 4330, 4331
	s := newScene(t)
	as := func(uid uint32) func(*testfleet.Options) {
		return func(o *testfleet.Options) { o.Credential = &testfleet.Credential{UID: uid, GID: uid} }
	}
	doomed := s.start(as(unlucky))
	c := s.serve("proc").client(t)
	must(t, s.ReplaceExiting(3))
	<-doomed.Exited()
	s.phase(c, rollout.PhaseHalted)
	s.replace()
	s.start(as(lucky))
	s.replace()
	s.phase(c, rollout.PhaseComplete)
	shown := func(uid int, args ...string) string {
		code, stdout, stderr := command(t, append([]string{"history", "--user", fmt.Sprint(uid), "--socket", c.Path()}, args...)...)
		if code != exitOK {
			t.Fatalf("history: exit code %d\n%s", code, stderr)
		}
		return stdout
	}
	if text := shown(unlucky); !strings.Contains(text, "halted: 1 crashed\n") ||
		!strings.Contains(text, fmt.Sprintf("canary %d of uid %d died: exit code 3\n", doomed.PID(), unlucky)) || strings.Contains(text, "upgraded") {
		t.Errorf("with a server that died, the user is shown\n%s", text)
	}
	if text := shown(lucky); !strings.Contains(text, "complete: 1 upgraded\n") || strings.Contains(text, "died") {
		t.Errorf("the other user is shown\n%s", text)
	}
}
