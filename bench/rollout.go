// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"ebpf-upgrader/control"
	"ebpf-upgrader/upgrade"
)

// daemon is the service as a process of its own.
type daemon struct {
	cmd      *exec.Cmd
	client   *control.Client
	messages bytes.Buffer
	dir      string
}

// serve starts the service, and waits until it answers.
func serve(ctx context.Context, args ...string) (*daemon, error) {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return nil, err
	}
	d := &daemon{dir: dir, client: control.NewClient(filepath.Join(dir, "s"))}
	d.cmd = exec.CommandContext(ctx, "../bin/ebpf-upgrader", append([]string{
		"run", "--run-dir", dir, "--socket", filepath.Join(dir, "s"), "--state-dir", dir,
	}, args...)...)
	d.cmd.Stderr = &d.messages
	if err := d.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%w: make build makes it", err)
	}
	return d, d.until(ctx, "answers", func(upgrade.Status) bool { return true })
}

// until polls.
func (d *daemon) until(ctx context.Context, what string, holds func(upgrade.Status) bool) error {
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if s, err := d.client.Status(ctx); err == nil && holds(s.Status) {
			return nil
		}
	}
	return fmt.Errorf("the service never %s:\n%s", what, &d.messages)
}

// stop may be called more than once.
func (d *daemon) stop() {
	_ = d.cmd.Process.Kill()
	_ = d.cmd.Wait()
	_ = os.RemoveAll(d.dir)
}

// rollouts measures the time from the rename to the last signal and to the last exec, against the number
// of servers. There are no canaries and no settle time.
func rollouts(ctx context.Context, o options) ([]Measure, error) {
	var all []Measure
	for _, k := range []int{fewestServers, 100, 1000, 5000} {
		signals, execs, err := rolloutOf(ctx, o, k)
		if err != nil {
			return nil, fmt.Errorf("%d servers: %w", k, err)
		}
		for _, m := range []Measure{
			{Name: "last signal", Servers: k, Rounds: len(signals), Millis: median(signals)},
			{Name: "last server upgraded", Servers: k, Rounds: len(execs), Millis: median(execs)},
		} {
			fmt.Printf("rollout %5d  %-22s %10.3f ms\n", k, m.Name, m.Millis)
			all = append(all, m)
		}
	}
	return all, nil
}

func rolloutOf(ctx context.Context, o options, k int) (signals, execs []time.Duration, err error) {
	s, err := newScene(1, k)
	if err != nil {
		return nil, nil, err
	}
	defer s.close()
	d, err := serve(ctx, "--install-path", s.install, "--source", "bpf", "--settle", "1ms", "--hold", "1ms", "--canary", "0",
		"--max-per-user", "100000")
	if err != nil {
		return nil, nil, err
	}
	defer d.stop()
	if err := d.until(ctx, "upgraded them at its start", done(k)); err != nil {
		return nil, nil, err
	}
	for range o.rounds {
		lastSignal, lastExec, err := d.follow(ctx, k, s.replace)
		if err != nil {
			return nil, nil, err
		}
		signals, execs = append(signals, lastSignal), append(execs, lastExec)
		if err := d.until(ctx, "upgraded them", done(k)); err != nil {
			return nil, nil, err
		}
	}
	return signals, execs, nil
}

func done(k int) func(upgrade.Status) bool {
	return func(s upgrade.Status) bool {
		return len(s.Rollouts) == 1 && s.Rollouts[0].Phase == upgrade.PhaseComplete && s.Rollouts[0].Servers[upgrade.Upgraded] == k
	}
}

var errFollowed = errors.New("followed")

// follow replaces the install, and reads the service's events until k servers have been asked and have
// exec'd.
func (d *daemon) follow(ctx context.Context, k int, replace func() error) (lastSignal, lastExec time.Duration, err error) {
	var next uint64
	if err := d.client.Events(ctx, 0, false, func(e control.Event) error { next = e.Seq + 1; return nil }); err != nil {
		return 0, 0, err
	}
	if err := replace(); err != nil {
		return 0, 0, err
	}
	begin := time.Now()
	asked, execed := 0, 0
	err = d.client.Events(ctx, next, true, func(e control.Event) error {
		if e.Kind == control.EventLost {
			return fmt.Errorf("%d events were lost", e.Lost)
		}
		if e.Kind != control.EventServer || e.State == nil {
			return nil
		}
		switch *e.State {
		case upgrade.Notified:
			asked, lastSignal = asked+1, e.Time.Sub(begin)
		case upgrade.Holding:
			execed, lastExec = execed+1, e.Time.Sub(begin)
		}
		if asked == k && execed == k {
			return errFollowed
		}
		return nil
	})
	if errors.Is(err, errFollowed) {
		err = nil
	}
	return lastSignal, lastExec, err
}
