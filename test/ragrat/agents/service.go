// SPDX-License-Identifier: MIT

//go:build linux

package agents

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/test/socket"
)

// Service runs the program under test as a process, for the servers of some users. It is not safe for concurrent use,
// but for Client, Phase and Log.
type Service struct {
	program, dir string
	args         []string
	// patience limits a start and an end.
	patience time.Duration
	cmd      *exec.Cmd
	ended    chan struct{}
}

// ErrNoGate means that the gate is not available: the program has none, or the kernel refuses it.
var ErrNoGate = errors.New("no gate")

// NewService prepares a service with its files in the folder dir, so that other services on the host are left alone.
// Without users it serves those that it may.
func NewService(program, dir string, patience time.Duration, flags []string, users []*User) (*Service, error) {
	s := &Service{program: program, dir: dir, patience: patience}
	s.args = append([]string{"run", "--run-dir", s.path("run"), "--state-dir", s.path("state")}, flags...)
	for _, u := range users {
		s.args = append(s.args, "--user", strconv.Itoa(int(u.UID)))
	}
	return s, os.MkdirAll(dir, 0o700)
}

func (s *Service) path(name string) string { return filepath.Join(s.dir, name) }

// Start starts the service and waits until it is ready. It may be called again after End.
func (s *Service) Start(ctx context.Context) error {
	log, err := os.OpenFile(s.path("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(s.program, s.args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.cmd, s.ended = cmd, make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		_ = cmd.Wait() // the log has the reason
		close(ended)
	}(s.cmd, s.ended)
	return s.ready(ctx)
}

func (s *Service) ready(ctx context.Context) error {
	deadline := time.After(s.patience)
	for {
		if _, err := socket.Get(ctx, s.socket(), "/readyz"); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.ended:
			reason := s.lastLine()
			if slices.Contains(s.args, "on") {
				return fmt.Errorf("%w: %s", ErrNoGate, reason)
			}
			return fmt.Errorf("await the service: it has ended: %s", reason)
		case <-deadline:
			return fmt.Errorf("await the service: not ready within %s: %s", s.patience, s.lastLine())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (s *Service) socket() string { return filepath.Join(s.dir, "run", "control.sock") }

// lastLine returns the last line of the log.
func (s *Service) lastLine() string {
	text, _ := os.ReadFile(s.path("log"))
	lines := bytes.Split(bytes.TrimSpace(text), []byte{'\n'})
	return string(lines[len(lines)-1])
}

// Log returns what the service has written so far.
func (s *Service) Log() string {
	text, err := os.ReadFile(s.path("log"))
	if err != nil {
		return err.Error() + "\n"
	}
	return string(text)
}

// End ends the service with a signal, and waits for its end. It kills a service that does not end in time.
func (s *Service) End(sig syscall.Signal) error {
	if s.cmd == nil {
		return nil
	}
	_ = s.cmd.Process.Signal(sig)
	select {
	case <-s.ended:
		return nil
	case <-time.After(s.patience):
		_ = s.cmd.Process.Kill()
		<-s.ended
		return fmt.Errorf("end the service: still running %s after %s", s.patience, sig)
	}
}

// PID returns the PID of the service after its start.
func (s *Service) PID() int { return s.cmd.Process.Pid }

// Client returns a client of the service's control socket.
func (s *Service) Client() *control.Client { return control.NewClient(s.socket()) }

// Phase returns the phase of the rollouts of the installed files, in the service's word; several words if they differ.
func (s *Service) Phase(ctx context.Context, installed []string) string {
	rollouts, err := s.Client().Rollouts(ctx)
	if err != nil {
		return err.Error()
	}
	latest := make(map[string]string)
	for _, r := range rollouts {
		if slices.Contains(installed, r.Install.Path) && !r.Superseded {
			latest[r.Install.Path] = string(r.Phase)
		}
	}
	phases := slices.Sorted(maps.Values(latest))
	return strings.Join(slices.Compact(phases), ", ")
}
