// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/registry"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// logged keeps the lines of at least INFO by their events. It fails the test for a field that the message does not have.
type logged struct {
	t  *testing.T
	mu sync.Mutex
	// events are those since the last take.
	events []string
}

func (l *logged) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelDebug }
func (l *logged) WithAttrs([]slog.Attr) slog.Handler               { return l }
func (l *logged) WithGroup(string) slog.Handler                    { return l }

func (l *logged) Handle(_ context.Context, r slog.Record) error {
	var event string
	fields := make(map[key]int)
	r.Attrs(func(a slog.Attr) bool {
		if key(a.Key) == keyEvent {
			event = a.Value.String()
		}
		fields[key(a.Key)]++
		return true
	})
	i := slices.IndexFunc(known, func(m message) bool { return m.event == event })
	for k, n := range fields {
		if k != keyEvent && !slices.Contains(known[i].keys(), k) || n > 1 {
			l.t.Errorf("%s has the field %q %d times, which docs/LOG.md does not say", event, k, n)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.Level >= slog.LevelInfo {
		l.events = append(l.events, event)
	}
	return nil
}

// want compares the events since the last call.
func (l *logged) want(events ...string) {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Equal(l.events, events) {
		l.t.Errorf("the log has %v, want %v", l.events, events)
	}
	l.events = nil
}

func newLogged(t *testing.T) (*logged, *eventLog) {
	l := &logged{t: t}
	return l, newEventLog(slog.New(l), func(selector.Image) selector.Build { return selector.Build{} })
}

// reportOf is a report of rollout 1.
func reportOf(phase rollout.Phase, halts ...rollout.Halt) rollout.Report {
	return rollout.Report{
		Number: 1, Phase: phase, Halts: halts, Servers: map[rollout.State]int{rollout.Upgraded: 1},
		Install: selector.Install{Path: "/bin/rag-rat", Image: selector.Image{Dev: 1, Ino: 2}},
	}
}

// upgrade moves a server of a user through a rollout.
func upgrade(l *eventLog, pid selector.PID, uid uint32, states ...rollout.State) {
	from := rollout.None
	for _, state := range states {
		l.Moved(rollout.Member{PID: pid, UID: uid, Rollout: 1, State: state, Since: time.Now(), Canary: true, Ran: selector.Image{Dev: 1, Ino: 1}}, from)
		from = state
	}
}

func TestRolloutLog_NothingOutdated_DebugOnly(t *testing.T) {
	t.Parallel()
	lines, l := newLogged(t)
	for _, phase := range []rollout.Phase{rollout.PhaseCanary, rollout.PhaseComplete, rollout.PhasePaused, rollout.PhaseComplete} {
		l.Rollout(reportOf(phase))
	}
	over := reportOf(rollout.PhaseComplete)
	over.Superseded = true
	l.Rollout(over)
	lines.want()
}

func TestRolloutLog_Upgraded_HasALineForEachPhase(t *testing.T) {
	t.Parallel()
	lines, l := newLogged(t)
	l.Rollout(reportOf(rollout.PhaseCanary))
	for pid := range selector.PID(1000) {
		upgrade(l, pid+1, uint32(pid%2), rollout.Pending)
	}
	upgrade(l, 1, 0, rollout.Signalled, rollout.Settling, rollout.Upgraded)
	lines.want("rollout-began")
	l.Rollout(reportOf(rollout.PhaseRolling))
	for pid := range selector.PID(1000) {
		upgrade(l, pid+1, uint32(pid%2), rollout.Signalled, rollout.Settling, rollout.Upgraded)
	}
	l.Rollout(reportOf(rollout.PhaseComplete))
	lines.want("rollout-rolling", "rollout-complete")
	l.Rollout(reportOf(rollout.PhasePaused))
	l.Rollout(reportOf(rollout.PhaseComplete))
	lines.want()
	// A server that appears later needs no canary.
	l.Moved(rollout.Member{PID: 2000, Rollout: 1, State: rollout.Pending, Since: time.Now()}, rollout.None)
	l.Moved(rollout.Member{PID: 2000, Rollout: 1, State: rollout.Signalled, Since: time.Now()}, rollout.Pending)
	l.Rollout(reportOf(rollout.PhaseRolling))
	l.Rollout(reportOf(rollout.PhaseComplete))
	lines.want("rollout-began", "rollout-complete")
}

func TestRolloutLog_Halts_EachIsWrittenOnce(t *testing.T) {
	t.Parallel()
	lines, l := newLogged(t)
	first, second := rollout.Halt{UID: 1, Reason: "server 1 died"}, rollout.Halt{UID: 2, Reason: "server 2 died"}
	upgrade(l, 1, 1, rollout.Pending, rollout.Signalled, rollout.Crashed)
	l.Rollout(reportOf(rollout.PhaseCanary, first))
	lines.want("rollout-began", "server-crashed", "rollout-halted")
	l.Rollout(reportOf(rollout.PhaseRolling, first))
	lines.want("rollout-rolling")
	l.Rollout(reportOf(rollout.PhaseHalted, first, second))
	lines.want("rollout-halted")
	l.Rollout(reportOf(rollout.PhaseFailed))
	lines.want("rollout-failed")
}

func TestRolloutLog_ServerStays_IsAWarning(t *testing.T) {
	t.Parallel()
	lines, l := newLogged(t)
	upgrade(l, 1, 1, rollout.Pending, rollout.Signalled, rollout.TimedOut)
	lines.want("rollout-began")
	l.Moved(rollout.Member{PID: 1, Rollout: 1, State: rollout.GaveUp}, rollout.Signalled)
	lines.want("server-gave-up")
	l.Refused(rollout.Member{PID: 1}, selector.ErrSignalledByOther)
	lines.want()
}

func TestEventLog_EachMethod_HasItsLine(t *testing.T) {
	t.Parallel()
	lines, l := newLogged(t)
	uid := uint32(1000)
	l.Round(api.ReasonScan, api.Report{Servers: []api.Server{{UID: uid}, {UID: 1}}}, time.Second)
	lines.want()
	l.Refused(rollout.Member{PID: 1, UID: uid}, errors.New("operation not permitted"))
	l.Trouble(errors.New("disk full"))
	l.Acted(control.Event{Act: string(api.ActPause), By: &uid, PID: 1, Detail: "a reason"})
	l.Acted(control.Event{Act: string(api.ActResume), By: &uid, PID: 1, Path: "/bin/rag-rat", UID: &uid, Rollout: 1})
	lines.want("server-not-signalled", "service-trouble", "act", "act")
}

// TestInstallLog_NotReady_SaysSoOnce, and not at all where the file is written meanwhile.
func TestInstallLog_NotReady_SaysSoOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lines, l := newLogged(t)
		at := registry.Key{View: selector.View{Mounts: 1}, Path: "/bin/rag-rat"}
		report := func(state selector.State, detail string) {
			l.installed(at, selector.Install{Path: at.Path, State: state, Detail: detail})
			time.Sleep(time.Second)
			synctest.Wait()
		}
		report(selector.StateUnready, "is open for writing")
		report(selector.StateReady, "")
		time.Sleep(time.Minute)
		lines.want()
		report(selector.StateUnready, "is truncated")
		report(selector.StateUnready, "is truncated")
		time.Sleep(time.Minute)
		report(selector.StateUnready, "is truncated")
		synctest.Wait()
		lines.want("install-not-ready")
		report(selector.StateReady, "")
		lines.want("install-ready")
		report(selector.StateMissing, "no such file or directory")
		time.Sleep(time.Minute)
		synctest.Wait()
		lines.want("install-missing")
		l.forgot(at)
		report(selector.StateUnready, "is truncated")
		l.forgot(at)
		time.Sleep(time.Minute)
		lines.want()
	})
}
