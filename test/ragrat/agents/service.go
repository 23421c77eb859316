// SPDX-License-Identifier: MIT

//go:build linux

package agents

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"ebpf-upgrader/internal/control"
)

// Service is the program under test, as a process, for some users.
type Service struct {
	program, dir string
	args         []string
	// patience is how long a start or an end is waited for.
	patience time.Duration
	cmd      *exec.Cmd
	ended    chan struct{}
}

// ErrNoGate means that the gate cannot be had: the program has none, or the kernel refuses it.
var ErrNoGate = errors.New("no gate")

// NewService prepares a service with flags of its own in a folder of its own: others may run on this host.
func NewService(program, dir string, patience time.Duration, flags []string, users []*User) (*Service, error) {
	s := &Service{program: program, dir: dir, patience: patience}
	s.args = append([]string{"run", "--run-dir", s.path("run"), "--state-dir", s.path("state")}, flags...)
	for _, u := range users {
		s.args = append(s.args, "--user", strconv.Itoa(int(u.UID)))
	}
	return s, os.MkdirAll(dir, 0o700)
}

func (s *Service) path(name string) string { return filepath.Join(s.dir, name) }

// Start starts it and waits until it serves.
func (s *Service) Start(ctx context.Context) error {
	log, err := os.OpenFile(s.path("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	s.cmd = exec.Command(s.program, s.args...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	s.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		_ = cmd.Wait() // what it said is in the log
		close(ended)
	}(s.cmd, s.ended)
	return s.ready(ctx)
}

func (s *Service) ready(ctx context.Context) error {
	deadline := time.After(s.patience)
	for {
		if s.answersReady(ctx) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.ended:
			words := s.lastWords()
			if slices.Contains(s.args, "on") {
				return fmt.Errorf("%w: %s", ErrNoGate, words)
			}
			return fmt.Errorf("await the service: it has ended: %s", words)
		case <-deadline:
			return fmt.Errorf("await the service: not ready within %s: %s", s.patience, s.lastWords())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (s *Service) answersReady(ctx context.Context) bool {
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", s.socket())
		},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://service/readyz", nil)
	if err != nil {
		return false
	}
	response, err := client.Do(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}

func (s *Service) socket() string { return filepath.Join(s.dir, "run", "control.sock") }

// lastWords is the last line of its log.
func (s *Service) lastWords() string {
	text, _ := os.ReadFile(s.path("log"))
	lines := bytes.Split(bytes.TrimSpace(text), []byte{'\n'})
	return string(lines[len(lines)-1])
}

// Log is what it said.
func (s *Service) Log() string {
	text, err := os.ReadFile(s.path("log"))
	if err != nil {
		return err.Error() + "\n"
	}
	return string(text)
}

// End ends it by a signal.
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
		return fmt.Errorf("end the service: it did not within %s of %s", s.patience, sig)
	}
}

// Client talks to the service.
func (s *Service) Client() *control.Client { return control.NewClient(s.socket()) }

// Phase is how far the rollouts of the installed files have come: the word of the service, several if they differ.
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
	var words []string
	for _, word := range latest {
		if !slices.Contains(words, word) {
			words = append(words, word)
		}
	}
	slices.Sort(words)
	return strings.Join(words, ", ")
}
