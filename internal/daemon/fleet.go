// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"context"

	"ebpf-upgrader/internal/fleet/host"
	"ebpf-upgrader/internal/stage"
)

// FleetGate is the gate of a host of a fleet: the fleet decides when a staged file is put in place.
type FleetGate struct {
	Host *host.Host
	// Engine is what --fleet names.
	Engine string
}

// Name implements [stage.Gate].
func (g FleetGate) Name() string { return "fleet " + g.Engine }

// Enter implements [stage.Gate].
func (g FleetGate) Enter(ctx context.Context, r stage.Request) (stage.Answer, error) {
	a, err := g.Host.Enter(ctx, string(r.Release), r.Servers == 0)
	if err != nil {
		return stage.Answer{}, err
	}
	return stage.Answer{IsGranted: a.Granted(), Why: a.Text, AskAt: a.AskAt, Bake: a.Bake}, nil
}

// Leave implements [stage.Gate].
func (g FleetGate) Leave(ctx context.Context, r stage.Request, o stage.Outcome) error {
	if o == stage.Upgraded {
		return g.Host.Done(ctx, string(r.Release))
	}
	installed, err := stage.ReleaseOf(r.Path)
	return g.Host.Nothing(ctx, string(r.Release), err == nil && installed == r.Release)
}

// Fail implements [stage.Gate].
func (g FleetGate) Fail(ctx context.Context, r stage.Request, why string) error {
	return g.Host.Fail(ctx, string(r.Release), why)
}
