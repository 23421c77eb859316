// SPDX-License-Identifier: MIT

package engines_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"ebpf-upgrader/internal/fleet"
)

// during runs hosts, and does something to the engine when a tenth of them are done.
func during(t *testing.T, e *engine, hosts int, urls []string, do func()) {
	t.Helper()
	e.with(t, wavesPolicy, "")
	c := &crowd{t: t, e: e, urls: urls}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for c.done.Load() < int32(hosts/10) && t.Context().Err() == nil {
			time.Sleep(10 * time.Millisecond)
		}
		do()
	}()
	c.run(hosts)
	<-ended
	c.allDone(hosts)
}

func TestEngine_KilledAndBack_BoundsHoldAllDone(t *testing.T) {
	for _, kind := range kinds[1:] {
		t.Run(kind.name, func(t *testing.T) {
			e := kind.start(t)
			during(t, e, hostCount, nil, func() {
				e.members[0].kill()
				time.Sleep(3 * time.Second)
				e.members[0].run()
			})
		})
	}
}

func TestEngine_Stopped_BoundsHoldAllDone(t *testing.T) {
	for _, kind := range kinds[1:] {
		t.Run(kind.name, func(t *testing.T) {
			e := kind.start(t)
			// Of three members at least one that is stopped in turn is the leader.
			during(t, e, hostCount, nil, func() {
				for _, member := range e.members {
					member.signal(syscall.SIGSTOP)
					time.Sleep(3 * time.Second)
					member.signal(syscall.SIGCONT)
				}
			})
		})
	}
}

// way is a server between the hosts and an engine.
type way struct {
	to     string
	client http.Client
	// spoil replaces the answer to a request; nil: none is replaced.
	spoil atomic.Pointer[func(w http.ResponseWriter)]
	// bad counts the answers that were replaced.
	bad atomic.Int32
}

func (y *way) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	req, err := http.NewRequestWithContext(r.Context(), r.Method, y.to+r.URL.Path, bytes.NewReader(body))
	if err != nil {
		panic(err)
	}
	req.Header = r.Header
	resp, err := y.client.Do(req)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer func() { _ = resp.Body.Close() }()
	data, _ := io.ReadAll(resp.Body)
	if spoil := y.spoil.Load(); spoil != nil {
		y.bad.Add(1)
		(*spoil)(w)
		return
	}
	for name, values := range resp.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(resp.StatusCode)
	_, _ = w.Write(data)
}

// TestAnswers_Spoilt_BoundsHoldAllDone lets every request arrive, and spoils the answers for a while: a host that was
// granted a seat does not know it.
func TestAnswers_Spoilt_BoundsHoldAllDone(t *testing.T) {
	for name, spoil := range map[string]func(w http.ResponseWriter){
		"lost": func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
		"html": func(w http.ResponseWriter) {
			_, _ = io.WriteString(w, "<html><body>Sign in to the network</body></html>")
		},
		"enormous": func(w http.ResponseWriter) { _, _ = w.Write(bytes.Repeat([]byte("["), 3<<20)) },
		"empty":    func(w http.ResponseWriter) { _, _ = io.WriteString(w, "{}") },
		"error":    func(w http.ResponseWriter) { http.Error(w, "no leader", http.StatusInternalServerError) },
		"slow":     func(http.ResponseWriter) { time.Sleep(2 * time.Second); panic(http.ErrAbortHandler) },
		"redirect": func(w http.ResponseWriter) { w.Header().Set("Location", "/"); w.WriteHeader(http.StatusFound) },
	} {
		t.Run(name, func(t *testing.T) {
			e := startEtcd(t, "etcd-3.7.3", 1)
			y := &way{to: e.urls[0]}
			s := httptest.NewServer(y)
			defer s.Close()
			during(t, e, hostCount/3, []string{s.URL}, func() {
				y.spoil.Store(&spoil)
				eventually(t, time.Minute, "no answer is spoilt", func() error {
					if y.bad.Load() < 20 {
						return io.EOF
					}
					return nil
				})
				y.spoil.Store(nil)
			})
		})
	}
}

// TestClock_OfTheEngineJumps_AllDone moves the only clock that hosts compare, by an hour there and back.
func TestClock_OfTheEngineJumps_AllDone(t *testing.T) {
	e := startEtcd(t, "etcd-3.7.3", 1)
	var shift atomic.Int64
	y := &way{to: e.urls[0]}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		y.ServeHTTP(&dated{w, time.Duration(shift.Load())}, r)
	}))
	defer s.Close()
	e.with(t, wavesPolicy, "")
	c := &crowd{t: t, e: e, urls: []string{s.URL}}
	// A halt by seats that seem to have vanished ends when their hosts report.
	go func() {
		for _, jump := range []time.Duration{-time.Hour, 0, time.Hour, 0} {
			shift.Store(int64(jump))
			time.Sleep(time.Second)
		}
	}()
	c.run(hostCount / 3)
	s2, err := fleet.ParseState(load(t, e.store()).State)
	if err != nil || s2.Find(release).Done == 0 || c.most.Load() > slots {
		t.Errorf("%+v, %v", s2, err)
	}
}

// dated is an answer with another time.
type dated struct {
	http.ResponseWriter
	shift time.Duration
}

func (d *dated) WriteHeader(status int) {
	d.Header().Set("Date", time.Now().Add(d.shift).UTC().Format(http.TimeFormat))
	d.ResponseWriter.WriteHeader(status)
}
