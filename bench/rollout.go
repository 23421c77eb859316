// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/rollout"
)

// lastUpgraded is the name of the time until the last server is upgraded.
const lastUpgraded = "last server upgraded"

// ways are the names of the ways to roll out, with their flags. Without the quiet moment no server is read twice before its
// signal.
var ways = []struct {
	name  string
	flags []string
}{{"", nil}, {" (--quiet 0)", []string{"--quiet", "0"}}}

// rollouts measures the time from the rename to the last signal and to the last exec, against the number of servers.
// Canaries and the settle time are off.
func rollouts(ctx context.Context, o options) ([]Measure, error) {
	var all []Measure
	for _, way := range ways {
		for _, k := range []int{fewestServers, 100, 1000, 5000} {
			signals, execs, err := rolloutOf(ctx, o, k, way.flags...)
			if err != nil {
				return nil, fmt.Errorf("%d servers: %w", k, err)
			}
			for _, m := range []Measure{took("last signal"+way.name, signals), took(lastUpgraded+way.name, execs)} {
				m.Servers = k
				fmt.Printf("rollout %5d  %-32s %10.3f ms\n", k, m.Name, m.Millis)
				all = append(all, m)
			}
		}
	}
	return all, nil
}

func rolloutOf(ctx context.Context, o options, k int, flags ...string) (signals, execs []time.Duration, err error) {
	s, err := newScene(1, k)
	if err != nil {
		return nil, nil, err
	}
	defer s.close()
	d, err := serve(ctx, append(flags, "--install-path", s.install, "--source", "bpf", "--settle", "1ms", "--hold", "1ms",
		"--canary", "0", "--max-per-user", "100000")...)
	if err != nil {
		return nil, nil, err
	}
	defer d.stop()
	if err := d.until(ctx, "upgraded all servers at its start", done(k)); err != nil {
		return nil, nil, err
	}
	for range o.rounds {
		rename, err := s.written()
		if err != nil {
			return nil, nil, err
		}
		lastSignal, lastExec, err := d.follow(ctx, k, rename)
		if err != nil {
			return nil, nil, err
		}
		signals, execs = append(signals, lastSignal), append(execs, lastExec)
		if err := d.until(ctx, "upgraded all servers", done(k)); err != nil {
			return nil, nil, err
		}
	}
	return signals, execs, nil
}

func done(k int) func(api.Status) bool {
	return func(s api.Status) bool {
		return len(s.Rollouts) == 1 && s.Rollouts[0].Phase == rollout.PhaseComplete && s.Rollouts[0].Servers[rollout.Upgraded] == k
	}
}

var errFollowed = errors.New("followed")

// follow installs the new file, and reads the service's events until k servers have been signalled and have exec'd.
func (d *daemon) follow(ctx context.Context, k int, rename func() error) (lastSignal, lastExec time.Duration, err error) {
	var next uint64
	if err := d.client.Events(ctx, control.EventQuery{}, func(e control.Event) error { next = e.Seq + 1; return nil }); err != nil {
		return 0, 0, err
	}
	begin := time.Now()
	if err := rename(); err != nil {
		return 0, 0, err
	}
	signalled, execed, lost := 0, 0, 0
	err = d.client.Events(ctx, control.EventQuery{From: next, Follow: true}, func(e control.Event) error {
		if e.Kind == control.EventLost {
			// This reader is slower than thousands of servers. The times are those of the last events that it read.
			if lost += int(e.Lost); lost > k/100 {
				return fmt.Errorf("%d events were lost", lost)
			}
		}
		// A server that arms itself again is reported as settling a second time.
		if e.Kind != control.EventServer || e.State == nil || e.From != nil && *e.From == *e.State {
			return nil
		}
		switch *e.State {
		case rollout.Signalled:
			signalled, lastSignal = signalled+1, e.Time.Sub(begin)
		case rollout.Settling:
			execed, lastExec = execed+1, e.Time.Sub(begin)
		}
		if signalled+lost >= k && execed+lost >= k {
			return errFollowed
		}
		return nil
	})
	if errors.Is(err, errFollowed) {
		err = nil
	}
	return lastSignal, lastExec, err
}
