// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/fleet/host"
	"ebpf-upgrader/internal/fleet/record"
	"ebpf-upgrader/internal/install"
	"ebpf-upgrader/internal/metrics"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/internal/stage"
	"ebpf-upgrader/test/fleetmemory"
)

// engine is a store that can be out of reach, and counts what it is asked.
type engine struct {
	*fleetmemory.Memory
	isLost atomic.Bool
	loads  atomic.Int32
	// during runs while the engine is asked, where it is not nil.
	during func()
}

func newEngine() *engine { return &engine{Memory: fleetmemory.New(gatePolicy, "")} }

func (e *engine) Load(ctx context.Context) (record.Document, error) {
	e.loads.Add(1)
	if e.during != nil {
		e.during()
	}
	if e.isLost.Load() {
		return record.Document{}, errors.New("no route to host")
	}
	return e.Memory.Load(ctx)
}

// release is the record of the only release.
func (e *engine) release(t *testing.T) (entered, done, failed int) {
	t.Helper()
	r := record.Record{Store: e.Memory}
	v, err := r.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range v.State.Releases {
		entered, done, failed = entered+r.Entered(), done+r.Done, failed+len(r.Failed)
	}
	return entered, done, failed
}

// fleetHost is one host with a staged file, without a check of it and without a goroutine.
type fleetHost struct {
	*staging
	*stagedPath
	t       *testing.T
	engine  *engine
	rollout rollout.Report
}

// newFleetHost returns a host of the fleet of an engine with a good file staged.
func newFleetHost(t *testing.T, e *engine, name string, openAfter time.Duration) *fleetHost {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: only files of root are staged")
	}
	path := filepath.Join(t.TempDir(), "tool")
	for file, text := range map[string]string{path: "old", stage.NextPath(path): "new"} {
		if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cfg := &Config{Log: slog.New(slog.DiscardHandler), StateDir: t.TempDir(), Staging: Staging{Fleet: &Fleet{Name: name, OpenAfter: openAfter}}}
	return fleetHostAgain(t, cfg, e, path)
}

// fleetHostAgain is the host after a start of its service.
func fleetHostAgain(t *testing.T, cfg *Config, e *engine, path string) *fleetHost {
	t.Helper()
	kept, err := stage.Load(cfg.StateDir)
	if err != nil {
		t.Fatal(err)
	}
	kept = append(kept, stage.Record{Path: path})
	m := &fleetHost{t: t, engine: e}
	m.stagedPath = &stagedPath{Machine: stage.New(kept[0]), releases: make(map[string]knownRelease)}
	m.saved = m.Record
	name, after := cfg.Staging.Fleet.Name, cfg.Staging.Fleet.OpenAfter
	gate := &FleetGate{Host: host.New(host.Config{ID: name, Name: name, OpenAfter: after}, e), Engine: "memory"}
	m.staging = &staging{cfg: cfg, gate: gate, fleet: gate, feed: control.NewFeed(), counts: metrics.New("", ""), wake: make(chan struct{}, 1), paths: []*stagedPath{m.stagedPath}}
	m.status = func(context.Context) (api.Status, error) {
		return api.Status{
			Installs: []api.InstallStatus{{Install: install.Stat(install.RootedPath{Path: path}), Servers: 1, Rollout: 1}},
			Rollouts: []rollout.Report{m.rollout},
		}, nil
	}
	m.rollout = rollout.Report{Number: 1, Phase: rollout.PhaseRolling, Servers: map[rollout.State]int{rollout.Pending: 1}}
	m.next = install.Stat(install.RootedPath{Path: stage.NextPath(path)})
	release, err := stage.ReleaseOf(stage.NextPath(path))
	if err != nil {
		t.Fatal(err)
	}
	m.checked = &api.Preflight{Release: string(release)}
	return m
}

// restart starts the service of the host anew.
func (m *fleetHost) restart() *fleetHost {
	return fleetHostAgain(m.t, m.cfg, m.engine, m.stagedPath.Path)
}

// goesTo lets the host go on until nothing is left to do, and says that it is in a state then.
func (m *fleetHost) goesTo(want stage.State) {
	m.t.Helper()
	for m.step(m.t.Context(), m.stagedPath) {
	}
	if m.State != want {
		m.t.Fatalf("%s is %s (%s), want %s", m.cfg.Staging.Fleet.Name, m.State, m.Why, want)
	}
}

// settle ends the rollout of the host.
func (m *fleetHost) settle() {
	m.rollout = rollout.Report{Number: 1, Phase: rollout.PhaseComplete, Servers: map[rollout.State]int{rollout.Upgraded: 1}}
}

// mustAsk says whether the host asks the engine when it goes on.
func (m *fleetHost) mustAsk(want bool) {
	m.t.Helper()
	before := m.engine.loads.Load()
	m.step(m.t.Context(), m.stagedPath)
	if asked := m.engine.loads.Load() != before; asked != want {
		m.t.Errorf("asked %v, want %v", asked, want)
	}
}

func TestFleetHosts_GoodFile_TakeTurns(t *testing.T) {
	e := newEngine()
	one, two := newFleetHost(t, e, "one", 0), newFleetHost(t, e, "two", 0)
	one.goesTo(stage.Activated)
	if one.Why != "entered wave one" {
		t.Errorf("why %q", one.Why)
	}
	two.goesTo(stage.Wanted)
	if two.Why != "wave one is full: 0 of 1 hosts done" {
		t.Errorf("why %q", two.Why)
	}
	one.settle()
	one.goesTo(stage.Baking)
	if _, done, _ := e.release(t); done != 1 {
		t.Errorf("%d done", done)
	}
	two.mustAsk(false) // before the time
	two.askAt = time.Now()
	two.goesTo(stage.Wanted)
	if !strings.Contains(two.Why, "bakes until") {
		t.Errorf("why %q", two.Why)
	}
}

func TestFleetHost_WithSeat_AsksAtItsTime(t *testing.T) {
	m := newFleetHost(t, newEngine(), "one", 0)
	m.goesTo(stage.Activated)
	if in := time.Until(m.askAt); in < 2*time.Minute || in > 3*time.Minute {
		t.Fatalf("asks again in %s, vanish is 9m", in)
	}
	m.mustAsk(false)
	m.askAt = time.Now()
	m.mustAsk(true)
	if in := time.Until(m.askAt); in < 2*time.Minute {
		t.Errorf("asks again in %s", in)
	}
	m.settle()
	m.goesTo(stage.Baking)
	m.askAt = time.Time{}
	m.mustAsk(false) // a second seat would count the host twice
}

func TestFleetHost_Restart_KeepsItsSeat(t *testing.T) {
	e := newEngine()
	m := newFleetHost(t, e, "one", 0)
	m.goesTo(stage.Activated)
	m = m.restart()
	m.mustAsk(true)
	if entered, _, failed := e.release(t); entered != 1 || failed != 0 {
		t.Fatalf("%d entered, %d failed", entered, failed)
	}
	m.settle()
	m.goesTo(stage.Baking)
	if _, done, _ := e.release(t); done != 1 {
		t.Errorf("%d done", done)
	}
}

// TestFleetHost_RestartSeated_AsksFirst: the service was killed with a seat, before it put the file in place.
func TestFleetHost_RestartSeated_AsksFirst(t *testing.T) {
	e := newEngine()
	m := newFleetHost(t, e, "one", 0)
	m.goesTo(stage.Activated)
	if err := os.WriteFile(m.stagedPath.Path, []byte("old"), 0o755); err != nil {
		t.Fatal(err)
	}
	kept := m.Record
	kept.State = stage.Seated
	if err := stage.Save(m.cfg.StateDir, []stage.Record{kept}); err != nil {
		t.Fatal(err)
	}
	m = m.restart()
	e.isLost.Store(true)
	m.goesTo(stage.Seated)
	if m.Why != "fleet memory cannot be reached: no route to host" {
		t.Errorf("why %q", m.Why)
	}
	e.isLost.Store(false)
	e.SetPolicy(strings.Replace(gatePolicy, `{"version":1`, `{"version":1,"paused":"stop"`, 1))
	m.askAt = time.Now()
	m.goesTo(stage.Activated) // with the seat that it has

	// Another host has taken the seat meanwhile.
	if err := stage.Save(m.cfg.StateDir, []stage.Record{kept}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(m.stagedPath.Path, []byte("old"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := m.gate.Leave(t.Context(), stage.Request{Path: m.stagedPath.Path, Release: kept.Release}, stage.Nothing); err != nil {
		t.Fatal(err)
	}
	m = m.restart()
	m.goesTo(stage.Wanted)
	if m.Why != "the fleet is paused: stop" {
		t.Errorf("why %q", m.Why)
	}
}

func TestFleetHost_EngineLost_PutsNothingInPlace(t *testing.T) {
	e := newEngine()
	e.isLost.Store(true)
	m := newFleetHost(t, e, "one", 0)
	m.goesTo(stage.Wanted)
	if m.Why != "fleet memory cannot be reached: no route to host" || m.askAt.IsZero() {
		t.Errorf("why %q, asks at %s", m.Why, m.askAt)
	}
	e.isLost.Store(false)
	m.askAt = time.Now()
	m.goesTo(stage.Activated)

	// With the file in place it finishes without the engine, and reports when that is back.
	e.isLost.Store(true)
	m.askAt = time.Now()
	m.mustAsk(true)
	m.settle()
	m.goesTo(stage.Baking)
	if m.Owed == nil {
		t.Error("nothing is owed")
	}
	e.isLost.Store(false)
	m.askAt = time.Now()
	m.goesTo(stage.Baking)
	if _, done, _ := e.release(t); done != 1 || m.Owed != nil {
		t.Errorf("%d done, owed %v", done, m.Owed)
	}
}

func TestFleetHost_OpenAfter_GoesWithoutSeat(t *testing.T) {
	e := newEngine()
	e.isLost.Store(true)
	m := newFleetHost(t, e, "one", time.Nanosecond)
	m.Owed = &stage.Owed{Release: "sha256:00000000", Outcome: stage.Nothing} // of the release before
	m.goesTo(stage.Activated)
	if m.Why != "without a seat: the engine was out of reach for 1ns" {
		t.Errorf("why %q", m.Why)
	}
}

// TestFleetHost_Activate_NeedsNoEngine: an operator's word counts while the engine is lost, also when it is owed a report.
func TestFleetHost_Activate_NeedsNoEngine(t *testing.T) {
	e := newEngine()
	e.isLost.Store(true)
	m := newFleetHost(t, e, "one", 0)
	m.Owed = &stage.Owed{Release: "sha256:00000000", Outcome: stage.Nothing}
	m.goesTo(stage.Wanted)
	if err := m.staging.Activate(api.StageRequest{Path: m.stagedPath.Path}); err != nil {
		t.Fatal(err)
	}
	m.goesTo(stage.Activated)
}
