// SPDX-License-Identifier: MIT

//go:build linux

package control_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

type scene struct {
	*control.Client
	socket   string
	listener net.Listener
	feed     *control.Feed
	of       *steered
	group    *uint32
	gate     api.Gate
	stop     func()
}

// listen makes a socket without a server: clients can connect, and get no answer.
func listen(t testing.TB) *scene {
	t.Helper()
	dir, err := os.MkdirTemp("", "control-test-") // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &scene{socket: filepath.Join(dir, "s"), feed: control.NewFeed(), of: &steered{}}
	s.of.status = api.Status{
		Source: api.SourceBPF, Installs: []api.InstallStatus{{Install: selector.Install{Path: "/bin/rag-rat"}}},
		Verdicts: map[selector.Verdict]int{selector.UpToDate: 3},
		Rollouts: []rollout.Report{{Number: 2, Phase: rollout.PhaseHalted, Servers: map[rollout.State]int{rollout.Crashed: 1}}},
	}
	s.listener, err = control.Listen(s.socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.listener.Close() })
	s.Client = control.NewClient(s.socket)
	return s
}

// serve is listen, with a server on the socket.
func serve(t testing.TB) *scene {
	t.Helper()
	s := listen(t)
	s.start(t)
	return s
}

// start serves the socket until the test ends.
func (s *scene) start(t testing.TB) {
	t.Helper()
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "a 1\n") })
	server := control.NewServer(control.Config{
		Service: s.of, Feed: s.feed, Info: control.Info{PID: 12}, Group: s.group, Metrics: metrics,
		Gate: func() (api.Gate, error) { return s.gate, nil }, Host: func(*control.Status) error { return nil },
		Covers: func(selector.PID) (active, covers bool, err error) { return false, false, nil }, Acted: s.feed.Acted,
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- server.Serve(ctx, s.listener) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve = %v", err)
		}
	})
	t.Cleanup(s.stop)
}

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestRequests_Each_Answered(t *testing.T) {
	t.Parallel()
	s := serve(t)
	status, err := s.Status(within(t))
	if err != nil || status.PID != 12 || status.Rollouts[0].Phase != rollout.PhaseHalted || status.Rollouts[0].Servers[rollout.Crashed] != 1 ||
		status.Verdicts[selector.UpToDate] != 3 || status.SchemaVersion != api.SchemaVersion {
		t.Errorf("Status = %+v, %v", status, err)
	}
	servers, err := s.Servers(within(t))
	if err != nil || len(servers) != 1 || servers[0].Rollout.State != rollout.Crashed {
		t.Errorf("Servers = %+v, %v", servers, err)
	}
	rollouts, err := s.Rollouts(within(t))
	if err != nil || len(rollouts) != 1 || rollouts[0].Number != 2 {
		t.Errorf("Rollouts = %+v, %v", rollouts, err)
	}
	report, err := s.Trigger(within(t), control.TriggerRequest{InstallPath: "/bin/rag-rat", Self: 9})
	if err != nil || len(report.Plan) != 1 || s.of.self != 9 {
		t.Errorf("Trigger = %+v, %v; self is %d", report, err, s.of.self)
	}
	if err := errors.Join(s.Pause(within(t)), s.Resume(within(t))); err != nil || s.of.paused.Load() != 1 || s.of.resumed != 1 {
		t.Errorf("Pause and Resume: %v, %+v", err, s.of)
	}
}

func TestTrigger_OtherInstall_Rejected(t *testing.T) {
	t.Parallel()
	s := serve(t)
	if _, err := s.Trigger(within(t), control.TriggerRequest{InstallPath: "/elsewhere"}); err == nil {
		t.Error("Trigger = nil for an install that the service does not watch")
	}
}

func TestClient_NoService_ErrNoService(t *testing.T) {
	t.Parallel()
	_, err := control.NewClient(filepath.Join(t.TempDir(), "s")).Status(within(t))
	if !errors.Is(err, control.ErrNoService) {
		t.Errorf("Status = %v, want ErrNoService", err)
	}
}

func TestListen_StaleSocket_Replaced(t *testing.T) {
	t.Parallel()
	s := serve(t)
	if _, err := control.Listen(s.socket); !errors.Is(err, control.ErrInUse) {
		t.Errorf("Listen = %v, want ErrInUse", err)
	}
	stale := s.socket + "2"
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
	again, err := control.Listen(stale)
	if err != nil {
		t.Fatalf("Listen = %v on a socket without a listener", err)
	}
	defer func() { _ = again.Close() }()
	info, err := os.Stat(stale)
	if err != nil || info.Mode().Perm() != 0o666 {
		t.Errorf("the socket's mode is %v, %v; want 0666", info.Mode(), err)
	}
}

// raw asks without the client, which would not ask like this.
func raw(t *testing.T, s *scene, method, path string, body io.Reader) int {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", s.socket)
	}}}
	request, err := http.NewRequestWithContext(within(t), method, "http://service"+path, body)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	return response.StatusCode
}

func TestRequests_Malformed_Rejected(t *testing.T) {
	t.Parallel()
	s := serve(t)
	cases := map[string]struct {
		method, path string
		body         io.Reader
		want         int
	}{
		"no such page":         {http.MethodGet, "/v2/status", nil, http.StatusNotFound},
		"wrong method":         {http.MethodGet, "/v1/pause", nil, http.StatusMethodNotAllowed},
		"no number":            {http.MethodGet, "/v1/events?from=x", nil, http.StatusBadRequest},
		"no JSON":              {http.MethodPost, "/v1/trigger", strings.NewReader("x"), http.StatusBadRequest},
		"an unknown field":     {http.MethodPost, "/v1/trigger", strings.NewReader(`{"y":1}`), http.StatusBadRequest},
		"a body of a megabyte": {http.MethodPost, "/v1/trigger", bytes.NewReader(bytes.Repeat([]byte{' '}, 1<<20)), http.StatusBadRequest},
		"nothing":              {http.MethodPost, "/v1/trigger", nil, http.StatusOK},
		"health":               {http.MethodGet, "/healthz", nil, http.StatusOK},
		"readiness":            {http.MethodGet, "/readyz", nil, http.StatusOK},
	}
	for name, c := range cases {
		if got := raw(t, s, c.method, c.path, c.body); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// Rejected clients take no slot: once the others have gone, further clients are served.
func TestClients_TooMany_Rejected(t *testing.T) {
	t.Parallel()
	s := serve(t)
	var conns []net.Conn
	for range 400 {
		conn, err := net.Dial("unix", s.socket)
		if err != nil {
			break
		}
		conns = append(conns, conn)
	}
	for _, conn := range conns {
		_ = conn.Close()
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		_, err := s.Status(within(t))
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after the others have gone: %v", err)
		}
	}
}
