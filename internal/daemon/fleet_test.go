// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"ebpf-upgrader/internal/fleet/host"
	"ebpf-upgrader/internal/fleet/record"
	"ebpf-upgrader/internal/stage"
	"ebpf-upgrader/test/fleetmemory"
)

const gatePolicy = `{"version":1,"vanish":"9m","waves":[{"name":"one","hosts":1,"slots":1,"bake":"30m","max_failed":1},{"name":"all","slots":9,"max_failed":2}]}`

// gates are those of two hosts of one fleet.
func gates(t *testing.T) (one, two stage.Gate, seats func() int) {
	t.Helper()
	store := fleetmemory.New(gatePolicy, "")
	r := record.Record{Store: store}
	seats = func() int {
		v, err := r.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, release := range v.State.Releases {
			n += release.Entered()
		}
		return n
	}
	gate := func(name string) stage.Gate {
		return &FleetGate{Host: host.New(host.Config{ID: name, Name: name}, store), Engine: "memory"}
	}
	return gate("one"), gate("two"), seats
}

func TestFleetGate_TwoHosts_TakeTurns(t *testing.T) {
	one, two, _ := gates(t)
	r := stage.Request{Path: "/none", Release: "sha256:9f2c41d0", Servers: 3}
	a, err := one.Enter(t.Context(), r)
	if err != nil || !a.IsGranted || a.Bake != 30*time.Minute || !a.AskAt.After(time.Now()) {
		t.Fatalf("%+v, %v", a, err)
	}
	if b, err := two.Enter(t.Context(), r); err != nil || b.IsGranted || b.Why != "wave one is full: 0 of 1 hosts done" {
		t.Fatalf("%+v, %v", b, err)
	}
	if err := one.Leave(t.Context(), r, stage.Upgraded); err != nil {
		t.Fatal(err)
	}
	if err := one.Fail(t.Context(), r, "SIGSEGV"); err != nil {
		t.Fatal(err)
	}
	if b, err := two.Enter(t.Context(), r); err != nil || b.Why != "halted in wave one: failed on one" {
		t.Fatalf("%+v, %v", b, err)
	}
}

func TestFleetGate_NothingInPlace_PlaceIsFree(t *testing.T) {
	one, _, seats := gates(t)
	path := filepath.Join(t.TempDir(), "rag-rat")
	r := stage.Request{Path: path, Release: "sha256:9f2c41d0", Servers: 1}
	if a, err := one.Enter(t.Context(), r); err != nil || !a.IsGranted {
		t.Fatalf("%+v, %v", a, err)
	}
	if err := one.Leave(t.Context(), r, stage.Nothing); err != nil || seats() != 0 {
		t.Fatalf("%v, %d seats", err, seats())
	}
	// Idle hosts wait in the first wave.
	r.Servers = 0
	if a, err := one.Enter(t.Context(), r); err != nil || a.IsGranted {
		t.Fatalf("%+v, %v", a, err)
	}
	if os.Geteuid() != 0 {
		return // a staged file must be root's
	}
	r.Servers = 1
	if err := os.WriteFile(path, []byte("file"), 0o755); err != nil {
		t.Fatal(err)
	}
	var err error
	if r.Release, err = stage.ReleaseOf(path); err != nil {
		t.Fatal(err)
	}
	if a, err := one.Enter(t.Context(), r); err != nil || !a.IsGranted {
		t.Fatalf("%+v, %v", a, err)
	}
	if err := one.Leave(t.Context(), r, stage.Nothing); err != nil || seats() != 1 {
		t.Fatalf("%v, %d seats: the file is in place, so the place is kept for a while", err, seats())
	}
}
