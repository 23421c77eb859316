// SPDX-License-Identifier: MIT

//go:build linux

package main

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

	"ebpf-upgrader/control"
	"ebpf-upgrader/test/ragrat/outcome"
)

// service is the program under test, as a process, for some users.
type service struct {
	program, dir string
	args         []string
	cmd          *exec.Cmd
	ended        chan struct{}
}

// errNoGate means that the gate cannot be had: the program has none, or the kernel refuses it.
var errNoGate = errors.New("no gate")

// newService prepares a service in a folder of its own: others may run on this host.
func newService(program, dir string, mode outcome.Mode, users []*user) (*service, error) {
	s := &service{program: program, dir: dir}
	flags, err := modeFlags(program, mode)
	if err != nil {
		return nil, err
	}
	s.args = append([]string{"run", "--run-dir", s.path("run"), "--state-dir", s.path("state")}, flags...)
	for _, u := range users {
		s.args = append(s.args, "--user", strconv.Itoa(int(u.uid)))
	}
	return s, os.MkdirAll(dir, 0o700)
}

// modeFlags are what makes a service one of the mode.
func modeFlags(program string, mode outcome.Mode) ([]string, error) {
	help, err := exec.Command(program, "run", "--help").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("ask %s for its flags: %w: make build", program, err)
	}
	knows := strings.Contains(string(help), "--gate ")
	switch {
	case mode == outcome.Gate && !knows:
		return nil, fmt.Errorf("%w: %s run has no --gate", errNoGate, program)
	case mode == outcome.Gate:
		return []string{"--gate", "on"}, nil
	}
	if knows {
		return []string{"--gate", "off"}, nil
	}
	return nil, nil
}

func (s *service) path(name string) string { return filepath.Join(s.dir, name) }

// start starts it and waits until it serves.
func (s *service) start(ctx context.Context, p pace) error {
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
	return s.ready(ctx, p)
}

func (s *service) ready(ctx context.Context, p pace) error {
	deadline := time.After(p.patience)
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
				return fmt.Errorf("%w: %s", errNoGate, words)
			}
			return fmt.Errorf("await the service: it has ended: %s", words)
		case <-deadline:
			return fmt.Errorf("await the service: not ready within %s: %s", p.patience, s.lastWords())
		case <-time.After(p.look):
		}
	}
}

func (s *service) answersReady(ctx context.Context) bool {
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

func (s *service) socket() string { return filepath.Join(s.dir, "run", "control.sock") }

// lastWords is the last line of its log.
func (s *service) lastWords() string {
	text, _ := os.ReadFile(s.path("log"))
	lines := bytes.Split(bytes.TrimSpace(text), []byte{'\n'})
	return string(lines[len(lines)-1])
}

// log is what it said.
func (s *service) log() string {
	text, err := os.ReadFile(s.path("log"))
	if err != nil {
		return err.Error() + "\n"
	}
	return string(text)
}

// end ends it by a signal.
func (s *service) end(sig syscall.Signal, p pace) error {
	if s.cmd == nil {
		return nil
	}
	_ = s.cmd.Process.Signal(sig)
	select {
	case <-s.ended:
		return nil
	case <-time.After(p.patience):
		_ = s.cmd.Process.Kill()
		<-s.ended
		return fmt.Errorf("end the service: it did not within %s of %s", p.patience, sig)
	}
}

// client talks to the service.
func (s *service) client() *control.Client { return control.NewClient(s.socket()) }

// phase is how far the rollouts of the installed files have come: the word of the service, several if they differ.
func (s *service) phase(ctx context.Context, installed []string) string {
	rollouts, err := s.client().Rollouts(ctx)
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
