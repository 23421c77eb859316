// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/controller"
)

// daemon is the service as a process of its own.
type daemon struct {
	cmd    *exec.Cmd
	client *control.Client
	dir    string
	// started is when it did, as it says.
	started time.Time
}

// serve starts the service, and waits until it answers. The caller must stop it.
func serve(ctx context.Context, args ...string) (*daemon, error) {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return nil, err
	}
	d := &daemon{dir: dir, client: control.NewClient(filepath.Join(dir, "s"))}
	d.cmd = exec.CommandContext(ctx, "../bin/ebpf-upgrader", append([]string{
		"run", "--run-dir", dir, "--socket", filepath.Join(dir, "s"), "--state-dir", dir, "--name", serverName,
	}, args...)...)
	if err := d.start(); err != nil {
		_ = os.RemoveAll(dir)
		return nil, fmt.Errorf("start the service: %w: make build makes it", err)
	}
	if err := d.until(ctx, "answers", func(controller.Status) bool { return true }); err != nil {
		d.stop()
		return nil, err
	}
	return d, nil
}

func (d *daemon) log() string { return filepath.Join(d.dir, "log") }

func (d *daemon) start() error {
	log, err := os.Create(d.log())
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	d.cmd.Stderr = log
	return d.cmd.Start()
}

// until polls.
func (d *daemon) until(ctx context.Context, what string, holds func(controller.Status) bool) error {
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); {
		if s, err := d.client.Status(ctx); err == nil && holds(s.Status) {
			d.started = s.Started
			return nil
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	log, _ := os.ReadFile(d.log())
	return fmt.Errorf("the service never %s:\n%s", what, log)
}

func (d *daemon) pid() int { return d.cmd.Process.Pid }

// stop may be called more than once.
func (d *daemon) stop() {
	_ = d.cmd.Process.Kill()
	_ = d.cmd.Wait()
	_ = os.RemoveAll(d.dir)
}
