// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is a program that runs beside the test.
type process struct {
	cmd   *exec.Cmd
	log   string
	ended chan struct{}
}

// start starts a program. It must be called on the main thread.
func start(log string, argv ...string) (*process, error) {
	file, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	p := &process{cmd: exec.Command(argv[0], argv[1:]...), log: log, ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.SysProcAttr = file, file, &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait()
	}()
	return p, nil
}

// stop ends the process, and waits for that.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(unix.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(10 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// tail is the end of the log.
func (p *process) tail() string {
	text, _ := os.ReadFile(p.log)
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-8):], []byte("\n")))
}

// service is the program with the address of its metrics.
type service struct {
	*process
	address string
}

// name keeps services of the host from these servers.
const name = "rag-rat-observe"

// startsWithin is how long the service may take to be ready on a busy machine.
const startsWithin = time.Minute

// serve ends the service that runs, and starts it with more flags. before is what the program is started by.
func (s *scene) serve(ctx context.Context, before []string, flags ...string) error {
	address := ""
	if s.service != nil {
		s.service.stop()
		address = s.service.address
	} else {
		var err error
		if address, err = freePort(); err != nil {
			return err
		}
	}
	p, err := start(filepath.Join(s.dir, "service.log"), append(append(before, s.program, "run",
		"--install-path", s.install.Path(), "--name", name, "--run-dir", s.disk, "--state-dir", s.disk, "--log-format", "text",
		"--metrics-listen", address, "--settle", "50ms", "--hold", "200ms", "--scan-every", "500ms",
		"--confirm-timeout", "6s", "--max-attempts", "1"), flags...)...)
	if err != nil {
		return err
	}
	s.service = &service{p, address}
	err = poll(ctx, startsWithin, "the service to be ready", func() error {
		text, err := get(ctx, "http://"+address+"/metrics")
		s.bpf = s.bpf || strings.Contains(text, `ebpf_upgrader_tracker_mode{mode="bpf"} 1`)
		return err
	})
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, p.tail())
	}
	return err
}

// command runs a command of the program against the service.
func (s *scene) command(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, s.program, append(args, "--socket", filepath.Join(s.disk, "control.sock"))...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// get reads a page.
func get(ctx context.Context, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, response.Status, text)
	}
	return string(text), err
}

// poll repeats check until it succeeds.
func poll(ctx context.Context, within time.Duration, what string, check func() error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("waited %s for %s: %w", within, what, err)
		}
	}
}
