// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"context"
	"testing"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/internal/stage"
)

// newTwoPaths returns a host of a fleet as two: one for each of two paths at which the same file is staged.
func newTwoPaths(t *testing.T, e *engine) (one, two *fleetHost) {
	t.Helper()
	one, two = newFleetHost(t, e, "host", 0), newFleetHost(t, e, "host", 0)
	of := []func(context.Context) (api.Status, error){one.status, two.status}
	two.staging = one.staging
	one.paths = append(one.paths, two.stagedPath)
	one.status = func(ctx context.Context) (all api.Status, err error) {
		for i, status := range of {
			s, _ := status(ctx)
			s.Installs[0].Rollout, s.Rollouts[0].Number = uint64(i+1), uint64(i+1)
			all.Installs, all.Rollouts = append(all.Installs, s.Installs[0]), append(all.Rollouts, s.Rollouts[0])
		}
		return all, nil
	}
	return one, two
}

func mustCount(t *testing.T, e *engine, entered, done, failed int) {
	t.Helper()
	if a, b, c := e.release(t); a != entered || b != done || c != failed {
		t.Fatalf("%d entered, %d done, %d failed; want %d, %d, %d", a, b, c, entered, done, failed)
	}
}

func TestFleetHost_TwoPathsAtOnce_AreOneMember(t *testing.T) {
	e := newEngine()
	one, two := newTwoPaths(t, e)
	one.goesTo(stage.Activated)
	two.goesTo(stage.Activated)
	mustCount(t, e, 1, 0, 0)
	one.settle()
	one.goesTo(stage.Baking)
	mustCount(t, e, 1, 0, 0) // the other path needs the seat
	if at := one.due(one.stagedPath); !at.After(time.Now()) {
		t.Errorf("looks again at %s", at)
	}
	two.settle()
	two.goesTo(stage.Baking)
	one.goesTo(stage.Baking)
	mustCount(t, e, 1, 1, 0)
}

func TestFleetHost_SecondPathLater_CountsOnce(t *testing.T) {
	e := newEngine()
	one, two := newTwoPaths(t, e)
	one.goesTo(stage.Activated)
	one.settle()
	one.goesTo(stage.Baking)
	mustCount(t, e, 1, 1, 0)
	two.goesTo(stage.Activated) // the wave is full; this host is in it
	mustCount(t, e, 1, 1, 0)
	two.settle()
	two.goesTo(stage.Baking)
	mustCount(t, e, 1, 1, 0)
}

func TestFleetHost_OnePathFails_HostHasFailed(t *testing.T) {
	for name, order := range map[string]bool{"first": true, "second": false} {
		t.Run(name, func(t *testing.T) {
			e := newEngine()
			bad, good := newTwoPaths(t, e)
			bad.goesTo(stage.Activated)
			good.goesTo(stage.Activated)
			fails := func() {
				bad.rollout.Halts, bad.rollout.IsHaltedForAll = []rollout.Halt{{Reason: "1 died"}}, true
				bad.goesTo(stage.Failed)
			}
			if order {
				fails()
			}
			good.settle()
			good.goesTo(stage.Baking)
			if !order {
				fails()
				good.goesTo(stage.Baking)
			}
			mustCount(t, e, 0, 0, 1)
			if good.Owed != nil || bad.Owed != nil {
				t.Errorf("owed %v, %v", good.Owed, bad.Owed)
			}
		})
	}
}
