// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/controller"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// restarted is the feed of a service that starts with a state directory.
func restarted(t *testing.T, dir string, saved *rollout.Snapshots) (*control.Feed, *keptHistory, *controller.Config) {
	t.Helper()
	feed, c := control.NewFeed(), &controller.Config{Saved: saved}
	h := keepHistory(&Config{StateDir: dir, Log: slog.New(slog.DiscardHandler)}, feed, c)
	return feed, h, c
}

var (
	oldImage = selector.Image{Dev: 1, Ino: 1}
	newFile  = selector.Install{Path: "/bin/rag-rat", Image: selector.Image{Dev: 1, Ino: 2}}
)

func report(number uint64, phase rollout.Phase, servers map[rollout.State]int) rollout.Report {
	return rollout.Report{Number: number, Install: newFile, Started: time.Now(), Phase: phase, Servers: servers}
}

func member(pid selector.PID, uid uint32, state rollout.State) rollout.Member {
	return rollout.Member{PID: pid, UID: uid, Rollout: 7, State: state, From: oldImage}
}

// eventsOf counts the events that are kept.
func eventsOf(feed *control.Feed, counts func(control.Event) bool) (n int) {
	_ = feed.Each(control.EventQuery{From: 1}, func(e control.Event) error {
		if counts(e) {
			n++
		}
		return nil
	})
	return n
}

// TestHistory_UserFloods_KeepsOthers: 50,000 events of a user follow the few of another, before and after a restart.
func TestHistory_UserFloods_KeepsOthers(t *testing.T) {
	t.Parallel()
	const loud, quiet = 1000, 1001
	dir := t.TempDir()
	feed, h, _ := restarted(t, dir, nil)
	feed.Rollout(report(7, rollout.PhaseCanary, nil))
	feed.Moved(member(1, quiet, rollout.Signalled), rollout.Pending)
	feed.Moved(member(1, quiet, rollout.Crashed), rollout.Signalled)
	for range 50_000 {
		feed.Moved(member(2, loud, rollout.Signalled), rollout.Pending)
	}
	last := feed.Last()
	ofQuiet := func(feed *control.Feed) int {
		return eventsOf(feed, func(e control.Event) bool { return e.UID != nil && *e.UID == quiet })
	}
	if n := ofQuiet(feed); n != 2 {
		t.Errorf("%d events of the other user are left, want 2", n)
	}
	h.close()
	if h.lost() == 0 {
		t.Error("no event was too many for the disk")
	}
	feed, h, c := restarted(t, dir, nil)
	defer h.close()
	if n := ofQuiet(feed); n != 2 || feed.Last() == 0 || feed.Last() > last || c.Saved == nil || c.Saved.Number != 7 {
		t.Errorf("after a restart: %d events of the other user, want 2; the last of all is %d, of %d; saved %+v", n, feed.Last(), last, c.Saved)
	}
	all := feed.Records(control.EventFilter{})
	if len(all) != 1 || len(all[0].Deaths) != 1 || all[0].Deaths[0].UID != quiet {
		t.Errorf("the rollouts after a restart are %+v", all)
	}
}

// TestHistory_Restart_CountsGoOn: a service that starts anew does not know of servers that ended before.
func TestHistory_Restart_CountsGoOn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	feed, h, _ := restarted(t, dir, nil)
	feed.Rollout(report(7, rollout.PhaseCanary, nil))
	for pid := range selector.PID(3) {
		feed.Moved(member(pid+1, 1000, rollout.Signalled), rollout.Pending)
	}
	feed.Moved(member(1, 1000, rollout.Crashed), rollout.Signalled)
	feed.Moved(member(2, 1000, rollout.Settling), rollout.Signalled)
	feed.Moved(member(2, 1000, rollout.Upgraded), rollout.Settling)
	h.close()

	saved := &rollout.Snapshots{Number: 7, Rollouts: []rollout.Snapshot{{Number: 7, Install: newFile, Started: time.Now()}}}
	feed, h, _ = restarted(t, dir, saved)
	defer h.close()
	feed.Rollout(report(7, rollout.PhaseRolling, map[rollout.State]int{rollout.Signalled: 1}))
	feed.Moved(member(3, 1000, rollout.Upgraded), rollout.Signalled)
	feed.Rollout(report(7, rollout.PhaseFailed, map[rollout.State]int{rollout.Upgraded: 1}))
	all := feed.Records(control.EventFilter{})
	if len(all) != 1 {
		t.Fatalf("%d rollouts, want 1", len(all))
	}
	r := all[0]
	if r.Servers[rollout.Upgraded] != 2 || r.Servers[rollout.Crashed] != 1 || len(r.Servers) != 2 || r.Ended.IsZero() ||
		!r.Current || len(r.From) != 1 || r.From[0].Image != oldImage {
		t.Errorf("the rollout is %+v", r)
	}
	ended := r.Ended
	feed.Rollout(report(7, rollout.PhaseCanary, map[rollout.State]int{})) // as it is at each start
	feed.Rollout(report(7, rollout.PhaseComplete, map[rollout.State]int{}))
	if r := feed.Records(control.EventFilter{})[0]; !r.Ended.Equal(ended) || r.Servers[rollout.Upgraded] != 2 {
		t.Errorf("without a change it ended at %s, and then at %s", ended, r.Ended)
	}
}

// TestHistory_Reboot_IsInterrupted: without the journal no service goes on with a rollout.
func TestHistory_Reboot_IsInterrupted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	feed, h, _ := restarted(t, dir, nil)
	feed.Moved(member(1, 1000, rollout.Signalled), rollout.Pending)
	feed.Rollout(report(7, rollout.PhaseCanary, map[rollout.State]int{rollout.Signalled: 1}))
	feed.Trouble(errors.New("x"))
	h.close()
	feed, h, c := restarted(t, dir, nil)
	defer h.close()
	r := feed.Records(control.EventFilter{})
	if len(r) != 1 || r[0].Current || !r[0].Ended.IsZero() || c.Saved.Number != 7 || eventsOf(feed, func(control.Event) bool { return true }) != 3 {
		t.Errorf("the rollouts are %+v, with %d events, and the last number is %d", r, eventsOf(feed, func(control.Event) bool { return true }), c.Saved.Number)
	}
	feeds, err := ReadHistory(dir)
	if err != nil || len(feeds) != 1 || len(feeds[0].Records(control.EventFilter{})) != 1 {
		t.Errorf("without a service %d feeds are read: %v", len(feeds), err)
	}
}

// TestHistory_OfUser_HidesOthers: of a rollout of two users, each learns what is theirs.
func TestHistory_OfUser_HidesOthers(t *testing.T) {
	t.Parallel()
	const mine, other = 1000, 1001
	feed, h, _ := restarted(t, t.TempDir(), nil)
	defer h.close()
	feed.Moved(member(1, other, rollout.Crashed), rollout.Signalled)
	feed.Moved(member(2, mine, rollout.Signalled), rollout.Pending)
	halted := report(7, rollout.PhaseHalted, map[rollout.State]int{rollout.Signalled: 1})
	halted.Halts = []rollout.Halt{{UID: other, Reason: "secret"}}
	feed.Rollout(halted)
	feed.Round(api.ReasonTrigger, api.Report{}, 0)
	uid := uint32(mine)
	filter := control.EventFilter{UID: &uid}
	var kinds []control.EventKind
	_ = feed.Each(control.EventQuery{Filter: filter}, func(e control.Event) error {
		if kinds = append(kinds, e.Kind); e.Detail != "" || e.PID == 1 || len(e.Users) > 1 {
			t.Errorf("the user is shown %+v", e)
		}
		return nil
	})
	if !slices.Equal(kinds, []control.EventKind{control.EventServer, control.EventRollout}) {
		t.Errorf("the user is shown events of the kinds %v", kinds)
	}
	r := feed.Records(filter)
	if len(r) != 1 || len(r[0].Deaths)+len(r[0].Halts) > 0 || !slices.Equal(r[0].Users, []uint32{mine}) {
		t.Errorf("the user is shown the rollouts %+v", r)
	}
}
