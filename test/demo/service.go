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
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/rollout"
)

// service is the program that is shown, as a process, and the client of its control socket.
type service struct {
	cmd    *exec.Cmd
	client *control.Client
	log    string
	// ended is closed after the process has ended.
	ended chan struct{}
}

// startService starts the service for one install. Its folders are below dir, so that it meets no other service. It must
// be called on a thread that lives as long as the demo.
func startService(program, path, dir string, flags []string) (*service, error) {
	s := &service{log: filepath.Join(dir, "service.log"), ended: make(chan struct{})}
	log, err := os.Create(s.log)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	run := filepath.Join(dir, "run")
	s.cmd = exec.Command(program, append([]string{
		"run", "--install-path", path, "--name", serverName, "--run-dir", run, "--state-dir", filepath.Join(dir, "state"),
		// Given, so that it holds without the gate, too: the busy server is waited for.
		"--quiet-within", "5s",
	}, flags...)...)
	s.cmd.Stderr, s.cmd.SysProcAttr = log, &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the service: %w (make build)", err)
	}
	go func() {
		defer close(s.ended)
		_ = s.cmd.Wait()
	}()
	s.client = control.NewClient(filepath.Join(run, "control.sock"))
	return s, nil
}

// readyWithin is how long the service may take to load its programs; an emulated kernel takes seconds.
const readyWithin = time.Minute

// awaitReady polls until the service answers.
func (s *service) awaitReady(ctx context.Context) (control.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		status, err := s.client.Status(ctx)
		if err == nil {
			return status, nil
		}
		select {
		case <-ticker.C:
		case <-s.ended:
			return control.Status{}, s.explain(errors.New("the service ended before it was ready"))
		case <-ctx.Done():
			return control.Status{}, s.explain(fmt.Errorf("the service is not ready: %w", err))
		}
	}
}

// update is an event of a server, or of a rollout with the rollout's report.
type update struct {
	control.Event
	rollout rollout.Report
	err     error
}

// follow reports what the service does, from its start on. The channel is closed when ctx or the service ends.
func (s *service) follow(ctx context.Context) <-chan update {
	updates := make(chan update)
	put := func(u update) error {
		select {
		case updates <- u:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	go func() {
		defer close(updates)
		err := s.client.Events(ctx, control.EventQuery{Follow: true}, func(e control.Event) error {
			u := update{Event: e}
			switch e.Kind {
			case control.EventServer:
			case control.EventRollout:
				if e.Detail == "superseded" { // another rollout has taken its place
					return nil
				}
				if u.rollout, u.err = s.rollout(ctx, e.Rollout); u.err == nil {
					u.rollout.Phase = e.Phase
				}
			default:
				return nil
			}
			return put(u)
		})
		if err == nil {
			err = errors.New("the service ended")
		}
		_ = put(update{err: err})
	}()
	return updates
}

// rollout is the report of one rollout as it is now.
func (s *service) rollout(ctx context.Context, number uint64) (rollout.Report, error) {
	all, err := s.client.Rollouts(ctx)
	for _, r := range all {
		if r.Number == number {
			return r, nil
		}
	}
	return rollout.Report{}, errors.Join(fmt.Errorf("rollout %d is not reported", number), err)
}

// explain adds the end of the service's log to an error.
func (s *service) explain(err error) error {
	if err == nil {
		return nil
	}
	const lines = 5
	text, _ := os.ReadFile(s.log)
	all := bytes.Split(bytes.TrimSpace(text), []byte{'\n'})
	return fmt.Errorf("%w\nthe service's log:\n%s", err, bytes.Join(all[max(0, len(all)-lines):], []byte{'\n'}))
}

// endsWithin is how long the service may take to end.
const endsWithin = 10 * time.Second

// end ends the service and waits for it.
func (s *service) end() {
	_ = s.cmd.Process.Signal(unix.SIGTERM)
	select {
	case <-s.ended:
	case <-time.After(endsWithin):
		_ = s.cmd.Process.Kill()
		<-s.ended
	}
}
