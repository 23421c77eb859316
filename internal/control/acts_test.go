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
	"syscall"
	"testing"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
)

// post sends a body as it is.
func (s *scene) post(t *testing.T, what, body string) (code int, answer string) {
	t.Helper()
	c := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", s.socket)
	}, DisableKeepAlives: true}}
	r, err := http.NewRequestWithContext(within(t), http.MethodPost, "http://service/v1/"+what, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	response, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

func TestAct_BadRequest_IsRefused(t *testing.T) {
	t.Parallel()
	s := serve(t)
	for _, c := range []struct {
		what, body string
		code       int
		says       string
	}{
		{"resume", `{"install_path": "/a", "user": 1}`, http.StatusBadRequest, `unknown field \"user\"`},
		{"resume", `{"uid": -1}`, http.StatusBadRequest, "read request"},
		{"resume", `{"uid": "ana"}`, http.StatusBadRequest, "read request"},
		{"resume", `{} {}`, http.StatusBadRequest, "more than one object"},
		{"resume", `{"install_path": "a"}`, http.StatusBadRequest, "must be absolute"},
		{"resume", `[]`, http.StatusBadRequest, "read request"},
		{"pause", `{"install_path": "/a"}`, http.StatusBadRequest, "leave out install_path"},
		{"pause", `{"reason": "` + strings.Repeat("x", 257) + `"}`, http.StatusBadRequest, "longer than 256"},
		{"abandon", `{}`, http.StatusBadRequest, "install_path is needed"},
		{"abandon", ``, http.StatusBadRequest, "install_path is needed"},
		{"abandon", `{"install_path": "/bin/other"}`, http.StatusConflict, "no rollout"},
	} {
		if code, answer := s.post(t, c.what, c.body); code != c.code || !strings.Contains(answer, c.says) {
			t.Errorf("%s %s: %d %s, want %d and %q", c.what, c.body, code, answer, c.code, c.says)
		}
	}
	if s.of.paused.Load() != 0 || s.of.resumed != 0 {
		t.Errorf("a refused request was carried out: %+v", s.of)
	}
}

func TestAct_Request_ReachesService(t *testing.T) {
	t.Parallel()
	s := serve(t)
	uid := uint32(7)
	request := control.ActRequest{InstallPath: "/bin/rag-rat", UID: &uid, Reason: "bad \x1b"}
	done, err := s.Act(within(t), api.ActAbandon, request)
	if err != nil || len(done.Rollouts) != 1 {
		t.Fatalf("Act = %+v, %v", done, err)
	}
	a := s.of.latest()
	if a.Kind != api.ActAbandon || a.Path != request.InstallPath || *a.User != uid || a.By.Reason != request.Reason ||
		int(a.By.UID) != os.Geteuid() || int(a.By.PID) != os.Getpid() || a.By.At.IsZero() {
		t.Errorf("the service got %+v", a)
	}
	if code, answer := s.post(t, "resume", ""); code != http.StatusOK || s.of.latest().User != nil {
		t.Errorf("an empty body: %d %s, and the service got %+v", code, answer, s.of.latest())
	}
}

// Peers that are no operators act on the servers of their own user, a few times in ten seconds.
func TestAct_OtherUser_OwnServersOnly(t *testing.T) {
	needRoot(t)
	s := serve(t)
	if err := errors.Join(os.Chmod(filepath.Dir(s.socket), 0o755), os.Chown(s.socket, 0, group)); err != nil {
		t.Fatal(err)
	}
	member := syscall.Credential{Uid: other, Gid: other, Groups: []uint32{group}}
	const most, window = 10, 10 * time.Second
	var done []time.Time // a machine may be too slow for that many in that time
	for range 3 * most {
		got := asked(t, s.socket, member)
		if got == "done the service says: more than 10 acts in 10s" {
			break
		}
		done = append(done, time.Now())
		if got != "done done" {
			t.Fatalf("pause %d: %q", len(done), got)
		}
		if u := s.of.latest().User; u == nil || *u != other {
			t.Fatalf("the service got %+v, want an act on the servers of %d", s.of.latest(), other)
		}
		if n := len(done); n > most && done[n-1].Sub(done[n-1-most]) < window-time.Second {
			t.Fatalf("%d acts within %s, want %d at most in %s", most+1, done[n-1].Sub(done[n-1-most]), most, window)
		}
	}
	if got := asked(t, s.socket, syscall.Credential{}); got != "done done" || s.of.latest().User != nil {
		t.Errorf("root: %q, and the service got %+v, want an act on all servers", got, s.of.latest())
	}
}
