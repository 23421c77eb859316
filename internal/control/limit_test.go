// SPDX-License-Identifier: MIT

//go:build linux

package control_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
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
)

// counted is a service that counts the queries of its status.
type counted struct {
	steered
	queries atomic.Int64
}

func (c *counted) Status(context.Context) (api.Status, error) {
	c.queries.Add(1)
	return api.Status{}, nil
}

// servePublic serves metrics and health on a TCP port.
func servePublic(t *testing.T, of *counted) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "a 1\n") })
	server := control.NewServer(control.Config{
		Service: of, Feed: control.NewFeed(), Metrics: metrics, Info: control.Info{Version: "1.2<3"},
		Gate: func() (api.Gate, error) { return api.Gate{}, nil }, Host: func(*control.Status) error { return nil },
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- server.ServePublic(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("ServePublic = %v", err)
		}
	})
	return l.Addr().String()
}

// scrape requests a page on a connection of its own.
func scrape(t *testing.T, address, path string) error {
	t.Helper()
	request, err := http.NewRequestWithContext(within(t), http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	return nil
}

// TestPublic_IdleClients_ScrapeAnswered: 4,000 connections without a request, or with half of one, cost a scrape less than
// a second.
func TestPublic_IdleClients_ScrapeAnswered(t *testing.T) {
	address := servePublic(t, &counted{})
	for _, sent := range []string{"", "GET /metrics HTTP/1.1\r\nHost: "} {
		for range 4000 {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			_, _ = io.WriteString(conn, sent)
		}
		began := time.Now()
		err := scrape(t, address, "/metrics")
		for err != nil && time.Since(began) < 20*time.Second {
			err = scrape(t, address, "/metrics")
		}
		if took := time.Since(began); err != nil || took > time.Second {
			t.Errorf("beside 4,000 clients that sent %q the scrape took %s: %v; want at most 1 s", sent, took, err)
		}
	}
}

// TestHealth_WithoutEnd_QueriesFew: health is answered from a status that is 100 ms old at most.
func TestHealth_WithoutEnd_QueriesFew(t *testing.T) {
	of := &counted{}
	address := servePublic(t, of)
	began := time.Now()
	for range 500 {
		if err := scrape(t, address, "/healthz"); err != nil {
			t.Fatal(err)
		}
	}
	if most := int64(time.Since(began)/(100*time.Millisecond)) + 1; of.queries.Load() > most {
		t.Errorf("500 requests queried the service %d times, want at most %d", of.queries.Load(), most)
	}
}

// asCrowd makes the test binary take all that the service on that socket lets it have.
const asCrowd = "CONTROL_TEST_AS_CROWD"

// crowd follows the events 100 times, connects 400 times more, and stays until its stdin ends.
func crowd(socket string) {
	client := control.NewClient(socket)
	took := make(chan error)
	for range 100 {
		go func() {
			took <- client.Events(context.Background(), control.EventQuery{Follow: true}, func(control.Event) error {
				took <- nil
				return nil
			})
		}()
	}
	followed := 0
	for range 100 {
		if <-took == nil {
			followed++
		}
	}
	for range 400 {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			defer func() { _ = conn.Close() }()
		}
	}
	fmt.Println(followed)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// TestUser_TakesAll_OthersAreServed: a user has four streams and eight connections, and leaves room for others.
func TestUser_TakesAll_OthersAreServed(t *testing.T) {
	needRoot(t)
	s := serve(t)
	if err := os.Chmod(filepath.Dir(s.socket), 0o755); err != nil {
		t.Fatal(err)
	}
	s.feed.Acted(control.Event{By: new(uint32(other))})
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{asCrowd + "=" + s.socket}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: other, Gid: other}}
	in, err := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = in.Close(), cmd.Wait() })
	followed, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || strings.TrimSpace(followed) != "4" {
		t.Errorf("a user follows the events %q times, %v; want 4", followed, err)
	}
	if got := asked(t, s.socket, syscall.Credential{Uid: other + 1, Gid: other + 1}); got != "done done" {
		t.Errorf("another user read and paused: %q, want that both is done", got)
	}
	stop := errors.New("stop")
	if err := s.Events(within(t), control.EventQuery{Follow: true}, func(control.Event) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("root follows the events: %v", err)
	}
	if _, err := s.Status(within(t)); err != nil {
		t.Errorf("root reads the status: %v", err)
	}
}
