// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/test/poll"
	"ebpf-upgrader/test/ragrat/agents"
)

// program is the program under test, seen from the folder bench.
const program = "../bin/ebpf-upgrader"

// daemon is the service under test. Its files are in a temporary folder.
type daemon struct {
	*agents.Service
	client *control.Client
	dir    string
	// started is the time of the start, by the service's own account.
	started time.Time
}

// patience limits a start of the service and each wait for one of its states.
const patience = 2 * time.Minute

// serve starts the service and waits until it is ready. The caller must stop it.
func serve(ctx context.Context, args ...string) (*daemon, error) {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return nil, err
	}
	d := &daemon{dir: dir}
	args = append([]string{"--name", serverName}, args...)
	if d.Service, err = agents.NewService(program, filepath.Join(dir, "service"), patience, args, nil); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	d.client = d.Client()
	if err := d.Start(ctx); err != nil {
		d.stop()
		return nil, fmt.Errorf("start %s: %w: make build builds it", program, err)
	}
	return d, nil
}

// until waits for a state of the service.
func (d *daemon) until(ctx context.Context, name string, reached func(api.Status) bool) error {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := poll.Until(limited, 5*time.Millisecond, func() string {
		s, err := d.client.Status(limited)
		if err != nil {
			return err.Error()
		}
		if !reached(s.Status) {
			return "the service has not " + name
		}
		d.started = s.Started
		return ""
	})
	if err != nil {
		return fmt.Errorf("%w; its log:\n%s", err, d.Log())
	}
	return nil
}

// stop kills the service. It may be called again.
func (d *daemon) stop() {
	_ = d.End(syscall.SIGKILL)
	_ = os.RemoveAll(d.dir)
}
