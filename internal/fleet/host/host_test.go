// SPDX-License-Identifier: MIT

package host

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ebpf-upgrader/internal/fleet"
	"ebpf-upgrader/internal/fleet/record"
	"ebpf-upgrader/internal/fleet/web"
	"ebpf-upgrader/test/fleetmemory"
)

const (
	policy  = `{"version":1,"vanish":"9m","waves":[{"name":"one","hosts":1,"slots":1,"bake":"30m","max_failed":1},{"name":"all","slots":9,"max_failed":2}]}`
	release = "sha256:9f2c41d0"
)

// lossy is a store that can be out of reach.
type lossy struct {
	*fleetmemory.Memory
	isLost atomic.Bool
}

func (l *lossy) Load(ctx context.Context) (record.Document, error) {
	if l.isLost.Load() {
		return record.Document{}, errors.New("no route to host")
	}
	return l.Memory.Load(ctx)
}

func enter(t *testing.T, h *Host) Answer {
	t.Helper()
	a, err := h.Enter(t.Context(), release, false)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestHost_Turn_FromSeatToDone(t *testing.T) {
	store := fleetmemory.New(policy, "")
	one, two := New(Config{ID: "1", Name: "one"}, store), New(Config{ID: "2", Name: "two"}, store)
	a := enter(t, one)
	if !a.Granted() || a.Bake != 30*time.Minute {
		t.Fatalf("%+v", a)
	}
	if keep := time.Until(a.AskAt); keep < 2*time.Minute || keep > 3*time.Minute {
		t.Errorf("asks again in %s to keep the seat, vanish is 9m", keep)
	}
	if b := enter(t, two); b.Reason != fleet.NotDone || time.Until(b.AskAt) < time.Minute {
		t.Errorf("%+v", b)
	}
	// Repeated after a lost answer: counted once.
	for range 2 {
		if err := one.Done(t.Context(), release); err != nil {
			t.Fatal(err)
		}
	}
	if b := enter(t, two); b.Reason != fleet.Baking || time.Until(b.AskAt) < 29*time.Minute {
		t.Errorf("%+v", b)
	}
	if err := one.Fail(t.Context(), release, "SIGSEGV after 3 min"); err != nil {
		t.Fatal(err)
	}
	if b := enter(t, two); b.Reason != fleet.Halted {
		t.Errorf("%+v", b)
	}
	seen := two.Seen()
	if seen.At.IsZero() || !seen.Lost.IsZero() || seen.Requests[Request{"load", "ok"}] != 3 || seen.View.State.Find(release) == nil {
		t.Errorf("%+v", seen)
	}
}

func TestHost_EngineLost_StaysClosed(t *testing.T) {
	store := &lossy{Memory: fleetmemory.New(policy, "")}
	store.isLost.Store(true)
	h := New(Config{ID: "1", Name: "one"}, store)
	begin := time.Now()
	for i := range 100 {
		h.now = func() time.Time { return begin.Add(time.Duration(i) * time.Hour) }
		if a, err := h.Enter(t.Context(), release, false); err == nil || a.Granted() {
			t.Fatalf("%+v, %v", a, err)
		}
	}
	if seen := h.Seen(); !seen.Lost.Equal(begin) || seen.Problem != "no route to host" {
		t.Errorf("%+v", seen)
	}
	store.isLost.Store(false)
	if a := enter(t, h); !a.Granted() || strings.HasPrefix(a.Text, "without") || !h.Seen().Lost.IsZero() {
		t.Errorf("%+v", a)
	}
}

func TestHost_OpenAfter_OpensForALostEngine(t *testing.T) {
	store := &lossy{Memory: fleetmemory.New(policy, "")}
	store.isLost.Store(true)
	h := New(Config{ID: "1", Name: "one", OpenAfter: time.Hour}, store)
	begin := time.Now()
	h.now = func() time.Time { return begin }
	if _, err := h.Enter(t.Context(), release, false); err == nil {
		t.Fatal("open at once")
	}
	h.now = func() time.Time { return begin.Add(time.Hour) }
	if a := enter(t, h); !a.Granted() || a.Text != "without a seat: the engine was out of reach for 1h0m0s" {
		t.Fatalf("%+v", a)
	}
	// An engine with a bad policy is not lost.
	bad := New(Config{ID: "1", Name: "one", OpenAfter: time.Nanosecond}, fleetmemory.New("{", ""))
	for range 3 {
		if a, err := bad.Enter(t.Context(), release, false); err == nil {
			t.Fatalf("%+v", a)
		}
	}
}

func TestOpen_Engines_AreNamedByAURL(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	for engine, want := range map[string]string{
		"etcd://127.0.0.1:2379/fleets/prod":       "",
		"etcd://a:2379,b:2379/prod":               "",
		"kubernetes://127.0.0.1:6443/agents/prod": "",
		"kubernetes://agents/prod":                "no pod of Kubernetes",
		"etcd://127.0.0.1:2379":                   "is no engine",
		"etcd://127.0.0.1/prod":                   "is no HOST:PORT",
		"etcd://user@a:2379/prod":                 "is no HOST:PORT",
		"etcd://a:2379,/prod":                     "is no HOST:PORT",
		"kubernetes://agents":                     "is no engine",
		"kubernetes://agents/prod/":               "is no engine",
		"consul://a:8500/prod":                    "is no engine",
		"":                                        "is no engine",
	} {
		_, err := Open(Access{Engine: engine})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", engine, err, want)
		}
	}
	for _, a := range []Access{
		{Engine: "etcd://a:2379/p", User: "u"},
		{Engine: "etcd://a:2379/p", TokenFile: "t"},
		{Engine: "kubernetes://a:1/n/p", User: "u"},
		{Engine: "etcd://a:2379/p", Options: web.Options{CertFile: "c"}},
	} {
		if _, err := Open(a); err == nil {
			t.Errorf("%+v: no error", a)
		}
	}
}
