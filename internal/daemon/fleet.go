// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"context"
	"fmt"
	"time"

	"ebpf-upgrader/internal/fleet/host"
	"ebpf-upgrader/internal/stage"
)

// Fleet says which fleet decides when staged files are put in place, and which host of it this is.
type Fleet struct {
	host.Access
	// Name is shown to people. Ring is empty for a host without one.
	Name, Ring string
	// OpenAfter is how long the engine must be out of reach before the host goes without a seat; zero: never.
	OpenAfter time.Duration
}

// FleetGate is the gate of a host of a fleet: the fleet decides when a staged file is put in place.
type FleetGate struct {
	Host *host.Host
	// Engine is what --fleet names.
	Engine string
}

// gate returns the gate of this host, which keeps its id in the state directory. It opens no connection.
func (f *Fleet) gate(stateDir string) (*FleetGate, error) {
	store, err := host.Open(f.Access)
	if err != nil {
		return nil, fmt.Errorf("--fleet: %w", err)
	}
	id, err := host.ID(stateDir, f.Name)
	if err != nil {
		return nil, fmt.Errorf("--fleet: the id of this host: %w", err)
	}
	counted, err := host.Counted(stateDir)
	if err != nil {
		return nil, fmt.Errorf("--fleet: %w", err)
	}
	c := host.Config{ID: id, Name: f.Name, Ring: f.Ring, Dir: stateDir, Counted: counted, OpenAfter: f.OpenAfter}
	return &FleetGate{Host: host.New(c, store), Engine: f.Engine}, nil
}

// Name implements [stage.Gate].
func (g *FleetGate) Name() string { return "fleet " + g.Engine }

// Enter implements [stage.Gate].
func (g *FleetGate) Enter(ctx context.Context, r stage.Request) (stage.Answer, error) {
	a, err := g.Host.Enter(ctx, string(r.Release), r.Servers == 0)
	if err != nil {
		return stage.Answer{}, err
	}
	return stage.Answer{IsGranted: a.Granted(), Why: a.Text, Reason: string(a.Reason), AskAt: a.AskAt, Bake: a.Bake}, nil
}

// Leave implements [stage.Gate].
func (g *FleetGate) Leave(ctx context.Context, r stage.Request, o stage.Outcome) error {
	if o == stage.Upgraded {
		return g.Host.Done(ctx, string(r.Release))
	}
	installed, err := stage.ReleaseOf(r.Path)
	return g.Host.Nothing(ctx, string(r.Release), err == nil && installed == r.Release)
}

// Fail implements [stage.Gate].
func (g *FleetGate) Fail(ctx context.Context, r stage.Request, why string) error {
	return g.Host.Fail(ctx, string(r.Release), why)
}
