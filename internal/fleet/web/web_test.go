// SPDX-License-Identifier: MIT

package web_test

import (
	"context"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ebpf-upgrader/internal/fleet/web"
)

// server starts one that answers with do, and counts its connections.
func server(t *testing.T, do http.HandlerFunc) (*httptest.Server, *atomic.Int32) {
	t.Helper()
	var connections atomic.Int32
	s := httptest.NewUnstartedServer(do)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s, &connections
}

// get asks once and returns the error.
func get(ctx context.Context, c *web.Client, to string) error {
	_, err := c.Do(ctx, http.MethodGet, to, nil, nil)
	return err
}

func TestClient_HostileServer_CostsLittle(t *testing.T) {
	var elsewhere atomic.Bool
	other, _ := server(t, func(http.ResponseWriter, *http.Request) { elsewhere.Store(true) })
	for name, c := range map[string]struct {
		do   http.HandlerFunc
		want string
	}{
		"enormous": {func(w http.ResponseWriter, _ *http.Request) {
			block := make([]byte, 64<<10)
			for range 1 << 14 {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		}, "more than 1048576 bytes"},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		}, "answers 307"},
		"busy": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) }, "429"},
		"its words": {func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, `{"message":"a\u001b[31m"}`, http.StatusServiceUnavailable)
		}, `503 Service Unavailable: "a\x1b[31m"`},
		"no time":     {func(w http.ResponseWriter, _ *http.Request) { w.Header()["Date"] = nil }, "without the time"},
		"a wall":      {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 1<<20)) }, "header"},
		"closes soon": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
	} {
		s, _ := server(t, c.do)
		if err := get(t.Context(), web.New(web.Options{}), s.URL); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if elsewhere.Load() {
		t.Error("a redirect was followed")
	}
}

func TestClient_SlowServer_EndsWithTheContext(t *testing.T) {
	end := make(chan struct{})
	s, _ := server(t, func(http.ResponseWriter, *http.Request) { <-end })
	defer close(end)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := get(ctx, web.New(web.Options{}), s.URL); err == nil {
		t.Error("no error")
	}
}

func TestClient_ManyRequests_KeepOneConnection(t *testing.T) {
	s, connections := server(t, func(http.ResponseWriter, *http.Request) {})
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	c := web.New(web.Options{})
	for range 10 {
		if err := get(t.Context(), c, s.URL); err != nil {
			t.Fatal(err)
		}
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestClient_WithoutTLS_ReachesThisHostOnly(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	err := get(ctx, web.New(web.Options{}), "http://192.0.2.1:2379")
	if err == nil || !strings.Contains(err.Error(), "--fleet-plain-http") {
		t.Errorf("%v", err)
	}
	if err := get(ctx, web.New(web.Options{PlainHTTP: true}), "http://192.0.2.1:2379"); strings.Contains(err.Error(), "plain") {
		t.Errorf("%v", err)
	}
}

func TestClient_Authority_IsReadAnew(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer s.Close()
	file := filepath.Join(t.TempDir(), "ca.crt")
	c := web.New(web.Options{CAFile: file})
	if err := get(t.Context(), c, s.URL); err == nil {
		t.Error("no file, no error")
	}
	if err := os.WriteFile(file, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := get(t.Context(), c, s.URL); err == nil || !strings.Contains(err.Error(), "no certificate") {
		t.Error(err)
	}
	right := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(file, right, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := get(t.Context(), c, s.URL); err != nil {
		t.Error(err)
	}
	if err := get(t.Context(), web.New(web.Options{}), s.URL); err == nil {
		t.Error("the system does not know this authority")
	}
}
