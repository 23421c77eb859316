// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ebpf-upgrader/internal/rollout"
)

// build compiles a program without what the tests are compiled with.
func build(t *testing.T, pkg string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "program")
	cmd := exec.Command("go", "build", "-o", path, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
	return path
}

// start runs the service as a process of its own, which can be killed.
func (s *service) start(t *testing.T, program string, args []string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	var messages syncBuffer
	cmd.Stderr = &messages
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.kill = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			t.Logf("%v:\n%s", args, &messages)
		}
	})
}

// TestRestart_KilledAnytime_OneSignalEach kills it 200 times in rollouts of 50
// servers.
func TestRestart_KilledAnytime_OneSignalEach(t *testing.T) {
	takesLong(t)
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		s := newScene(t)
		fleet := s.startFleet(50, nil)
		p := newService(t)
		args := append(p.args(s.Path(), source), "--settle", "1ms", "--hold", "10ms", "--confirm-timeout", "1s", "--retry-after", "1s")
		for kill := range 200 {
			if kill%4 == 0 {
				s.replace()
			}
			p.start(t, thisBinary(t), args)
			time.Sleep(rand.N(250 * time.Millisecond)) // the moment is random, not awaited
			p.kill()
		}
		p.start(t, thisBinary(t), args)
		for _, server := range fleet {
			s.upgraded(server)
		}
		for _, server := range fleet {
			for _, e := range server.Events() {
				if e.Signals > 1 {
					t.Errorf("server %d got %d signals in generation %d", server.PID(), e.Signals, e.Generation)
				}
			}
		}
	})
}

func TestService_SIGHUP_GoesOn(t *testing.T) {
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		s := newScene(t)
		p := newService(t)
		cmd := exec.Command(thisBinary(t), p.args(s.Path(), source)...)
		cmd.Env = append(os.Environ(), asProgram+"=1")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		c := p.client(t)
		if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Status(within(t)); err != nil {
			t.Errorf("after SIGHUP: %v", err)
		}
		began := time.Now()
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("after SIGTERM: %v, want a clean end", err)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("it took %s to end, want at most 2 s", took)
		}
	})
}

func TestSystemd_Service_Notified(t *testing.T) {
	s := newScene(t)
	address := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	p := newService(t)
	cmd := exec.Command(thisBinary(t), p.args(s.Path(), "proc")...)
	cmd.Env = append(os.Environ(), asProgram+"=1", "NOTIFY_SOCKET="+address, "WATCHDOG_USEC=200000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	await := func(want string) {
		t.Helper()
		_ = socket.SetReadDeadline(time.Now().Add(patience))
		message := make([]byte, 4096)
		for {
			n, err := socket.Read(message)
			if err != nil {
				t.Fatalf("the service manager was not told %s: %v", want, err)
			}
			if strings.HasPrefix(string(message[:n]), want) {
				return
			}
		}
	}
	await("READY=1")
	await("STATUS=")
	await("WATCHDOG=1")
	await("WATCHDOG=1")
	_ = cmd.Process.Signal(syscall.SIGTERM)
	await("STOPPING=1")
	_ = cmd.Wait()
}

// TestMetrics_Rollout_Counted is about the wiring: what each metric means is tested
// in its own room.
func TestMetrics_Rollout_Counted(t *testing.T) {
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		s := newScene(t)
		s.startFleet(3, nil)
		service := s.serve(source)
		c := service.client(t)
		s.replace()
		s.phase(c, rollout.PhaseComplete)
		text := service.get(t, "/metrics")
		for _, want := range []string{
			"ebpf_upgrader_signals_sent_total 3", `ebpf_upgrader_upgrades_total{outcome="upgraded"} 3`,
			`ebpf_upgrader_rollouts{phase="complete"} 1`, `ebpf_upgrader_tracker_mode{mode="` + source + `"} 1`,
			"ebpf_upgrader_rollouts_started_total 1", "ebpf_upgrader_upgrade_duration_seconds_count 3",
		} {
			if !strings.Contains(text, want+"\n") {
				t.Errorf("the metrics lack %s:\n%s", want, text)
			}
		}
		if strings.Contains(text, "ebpf_upgrader_scan_duration_seconds_count 0\n") {
			t.Error("no scan was counted")
		}
	})
}

// get asks the service's socket as a scraper does.
func (s *service) get(t *testing.T, path string) string {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", s.socket)
	}}}
	request, err := http.NewRequestWithContext(within(t), http.MethodGet, "http://service"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", path, response.Status, err)
	}
	return string(text)
}
