// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/controller"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/test/terminal"
)

// changingService gives the answer that was set last.
type changingService struct {
	*controller.Controller
	status atomic.Pointer[api.Status]
}

func (c *changingService) Status(context.Context) (api.Status, error) { return *c.status.Load(), nil }

// onBareHost adds a host with no gate and no metrics.
func onBareHost(c control.Config) control.Config {
	c.Gate = func() (api.Gate, error) { return api.Gate{}, nil }
	c.Host, c.Metrics = func(*control.Status) error { return nil }, http.NotFoundHandler()
	return c
}

// serveChanging serves on a socket until the test ends.
func serveChanging(t *testing.T, c *changingService, feed *control.Feed) (socket string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "eu-")
	must(t, err)
	socket = filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- control.NewServer(onBareHost(control.Config{Service: c, Feed: feed})).Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		must(t, <-done)
		_ = os.RemoveAll(dir)
	})
	return socket
}

// TestWatch_Terminal_RedrawsInPlace shows a picture that follows the service and the size, and leaves the screen as it was.
func TestWatch_Terminal_RedrawsInPlace(t *testing.T) {
	t.Parallel()
	c, feed := &changingService{}, control.NewFeed()
	status := exampleStatus().Status
	c.status.Store(&status)
	socket := serveChanging(t, c, feed)
	x := terminal.New(t, 200, 60)
	cmd := exec.Command(thisBinary(t), "status", "--watch", "--socket", socket)
	cmd.Env = append(os.Environ(), asProgram+"=1", "TERM=xterm", "NO_COLOR=")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = x.TTY, x.TTY, x.TTY
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	must(t, cmd.Start())
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill() })

	const end = "\x1b[J" // of a picture
	first := x.Read(end)
	if !strings.HasPrefix(first, "\x1b[?1049h") || !strings.Contains(first, "\x1b[1;31mHALTED: 2 servers") || strings.Contains(first, "\x1b[2J") {
		t.Errorf("the first picture is %q", first)
	}
	fine := status
	fine.Rollouts, fine.Installs = nil, nil
	c.status.Store(&fine)
	feed.Trouble(os.ErrInvalid) // an event
	second := x.Read("fine: ")
	if strings.Contains(second, "\x1b[?1049h") || strings.Contains(second, "\x1b[2J") {
		t.Errorf("the second picture is %q", second)
	}
	c.status.Store(&status)
	x.Resize(60, 60)
	for picture := ""; !strings.Contains(picture, "STATE") || strings.Contains(picture, "USERS"); { // one of the old width may come first
		picture = x.Read(end)
	}
	x.Press("q")
	x.Read("\x1b[?1049l")
	select {
	case err := <-exited:
		must(t, err)
	case <-time.After(20 * time.Second):
		t.Error("q does not end it")
	}
}

// TestWatch_Pipe_BlockForEachChange writes nothing where only ages change.
func TestWatch_Pipe_BlockForEachChange(t *testing.T) {
	t.Parallel()
	c, feed := &changingService{}, control.NewFeed()
	status := exampleStatus().Status
	c.status.Store(&status)
	socket := serveChanging(t, c, feed)
	r, w, err := os.Pipe()
	must(t, err)
	defer func() { _ = r.Close() }()
	cmd := exec.Command(thisBinary(t), "status", "--watch", "--socket", socket)
	cmd.Env, cmd.Stdout = append(os.Environ(), asProgram+"=1"), w
	must(t, cmd.Start())
	must(t, w.Close())
	lines := make(chan string, 1024)
	go func() {
		defer close(lines)
		text := make([]byte, 64<<10)
		for n, err := r.Read(text); err == nil; n, err = r.Read(text) {
			lines <- string(text[:n])
		}
	}()
	first := <-lines
	if !strings.HasPrefix(first, "HALTED: ") || strings.Contains(first, "\x1b") {
		t.Errorf("the first block is %q", first)
	}
	changed := status
	changed.Rollouts = append([]rollout.Report{}, status.Rollouts...)
	changed.Rollouts[2].Servers = map[rollout.State]int{rollout.Pending: 1, rollout.Crashed: 2}
	time.AfterFunc(3*agesEvery, func() { // ages have changed by then
		c.status.Store(&changed)
		feed.Trouble(os.ErrInvalid)
	})
	if second := <-lines; !strings.HasPrefix(second, "\nHALTED: 1 server of") {
		t.Errorf("the second block is %q", second)
	}
	must(t, cmd.Process.Signal(os.Interrupt))
	must(t, cmd.Wait())
	for more := range lines {
		t.Errorf("one more block: %q", more)
	}
}
