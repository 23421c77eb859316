// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"testing"
	"time"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/internal/stage"
)

func TestFleetHost_StartLost_IsShownUntilBack(t *testing.T) {
	e := newEngine()
	e.isLost.Store(true)
	m := newFleetHost(t, e, "one", 0)
	if again := m.reach(t.Context()); again.IsZero() {
		t.Error("does not try again")
	}
	if f := m.Fleet(); f.LostSince.IsZero() || f.Problem != "no route to host" || f.Name != "one" {
		t.Errorf("%+v", f)
	}
	loads := e.loads.Load()
	m.reach(t.Context())
	if e.loads.Load() != loads {
		t.Error("tries again before its time")
	}
	e.isLost.Store(false)
	m.touch.at = time.Now()
	if again := m.reach(t.Context()); !again.IsZero() {
		t.Errorf("reached, and tries again at %s", again)
	}
	if f := m.Fleet(); !f.LostSince.IsZero() || f.Reached.IsZero() {
		t.Errorf("%+v", f)
	}
	loads = e.loads.Load()
	m.reach(t.Context())
	if e.loads.Load() != loads {
		t.Error("asks an engine that is reached, without need")
	}
}

func TestFleetHost_LongLost_IsReportedOnce(t *testing.T) {
	e := newEngine()
	m := newFleetHost(t, e, "one", 0)
	e.isLost.Store(true)
	m.reach(t.Context())
	m.touch.isReported = true // after lostReported
	m.reach(t.Context())
	e.isLost.Store(false)
	m.touch.at = time.Now()
	m.reach(t.Context())
	m.reach(t.Context())
	if n := m.feed.Last(); n != 1 {
		t.Errorf("%d events, want one of the end", n)
	}
}

func TestFleetHost_Record_IsCounted(t *testing.T) {
	e := newEngine()
	one, two := newFleetHost(t, e, "one", 0), newFleetHost(t, e, "two", 0)
	one.goesTo(stage.Activated)
	two.goesTo(stage.Wanted)
	if r := two.fleetRecord(); !r.IsReached || r.Seats != 1 || r.WaitsSince.IsZero() || r.Requests["load"]["ok"] == 0 || r.Took["load"] == 0 ||
		r.Waiting["not-done"] != 1 || len(r.Releases) != 1 {
		t.Errorf("%+v", r)
	}
	one.rollout.Halts, one.rollout.IsHaltedForAll = []rollout.Halt{{Reason: "1 died"}}, true
	one.goesTo(stage.Failed)
	two.askAt = time.Now()
	two.goesTo(stage.Wanted)
	if r := two.fleetRecord(); !r.IsHalted || r.Failed != 1 || r.Seats != 0 || r.Waiting["halted"] != 1 {
		t.Errorf("%+v; why %q", r, two.Why)
	}
	e.isLost.Store(true)
	two.askAt = time.Now()
	two.goesTo(stage.Wanted)
	if r := two.fleetRecord(); r.Waiting["unreachable"] != 1 || r.Waiting["halted"] != 0 {
		t.Errorf("%+v; why %q", r, two.Why)
	}
}

func TestFleetHost_Poked_AsksAtOnce(t *testing.T) {
	m := newFleetHost(t, newEngine(), "one", 0)
	m.reach(t.Context())
	m.goesTo(stage.Activated)
	m.mustAsk(false)
	m.poke()
	loads := m.engine.loads.Load()
	m.reach(t.Context())
	if m.engine.loads.Load() != loads+1 {
		t.Error("the engine is not tried")
	}
	m.mustAsk(true)
}

// TestFleetHost_PokedWhileAsking_AsksAgain: the answer may be older than what the operator has changed.
func TestFleetHost_PokedWhileAsking_AsksAgain(t *testing.T) {
	m := newFleetHost(t, newEngine(), "one", 0)
	m.reach(t.Context())
	m.engine.during = m.poke
	m.goesTo(stage.Activated)
	m.engine.during = nil
	m.reach(t.Context())
	m.mustAsk(true)
}

func (m *fleetHost) poke() {
	if err := m.Poke(); err != nil {
		m.t.Error(err)
	}
}
