// SPDX-License-Identifier: MIT

package engines_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// during runs hosts, and does something to the engine when a tenth of them are done.
func during(t *testing.T, e *engine, hosts int, urls []string, do func(c *crowd)) {
	t.Helper()
	e.with(t, wavesPolicy, "")
	c := &crowd{t: t, e: e, urls: urls}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.run(ctx, hosts)
	}()
	defer func() { <-ended }()
	defer cancel()
	c.reach(&c.done, hosts/10)
	do(c)
	<-ended
	c.allDone(hosts)
}

// reach waits until a counter of the crowd is at n.
func (c *crowd) reach(counter *atomic.Int32, n int) {
	c.t.Helper()
	eventually(c.t, time.Minute, "the hosts do not get there", func() error {
		if got := counter.Load(); got < int32(n) {
			return fmt.Errorf("at %d of %d", got, n)
		}
		return nil
	})
}

// inTurn does something to the servers of an engine, one after the other. Of several it takes the one that leads, and the
// one that the hosts speak to.
func inTurn(t *testing.T, e *engine, do func(p *process)) {
	t.Helper()
	if len(e.urls) == 1 {
		for _, p := range e.members {
			do(p)
		}
		return
	}
	do(e.leader(t, nil))
	do(e.members[0])
}

// met waits until the hosts have met that a server is away: calls fail, or others of several servers let hosts through.
func (c *crowd) met(away *process) {
	c.t.Helper()
	if len(c.e.urls) == 1 {
		c.reach(&c.errors, int(c.errors.Load())+1)
		return
	}
	c.e.leader(c.t, away)
	c.reach(&c.done, int(c.done.Load())+3)
}

func TestEngine_KilledAndBack_BoundsHoldAllDone(t *testing.T) {
	eachReal(t, func(t *testing.T, e *engine) {
		during(t, e, hostCount, nil, func(c *crowd) {
			inTurn(t, e, func(p *process) {
				p.kill()
				c.met(p)
				p.run()
			})
		})
	})
}

// TestEngine_Stopped_BoundsHoldAllDone stops servers that keep their connections: calls end by their time limit.
func TestEngine_Stopped_BoundsHoldAllDone(t *testing.T) {
	eachReal(t, func(t *testing.T, e *engine) {
		during(t, e, hostCount, nil, func(c *crowd) {
			inTurn(t, e, func(p *process) {
				p.signal(syscall.SIGSTOP)
				c.met(p)
				p.signal(syscall.SIGCONT)
			})
		})
	})
}

// way is a server between the hosts and an engine.
type way struct {
	to     string
	client http.Client
	// spoil replaces the answer to a request; nil: none is replaced.
	spoil atomic.Pointer[func(w http.ResponseWriter)]
	// answers counts all answers, and bad those that were replaced.
	answers, bad atomic.Int32
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
	y.answers.Add(1)
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
	need(t, "etcd")
	t.Parallel()
	for name, spoil := range map[string]func(w http.ResponseWriter){
		"lost": func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
		"html": func(w http.ResponseWriter) {
			_, _ = io.WriteString(w, "<html><body>Sign in to the network</body></html>")
		},
		"enormous": func(w http.ResponseWriter) { _, _ = w.Write(bytes.Repeat([]byte("["), 3<<20)) },
		"empty":    func(w http.ResponseWriter) { _, _ = io.WriteString(w, "{}") },
		"error":    func(w http.ResponseWriter) { http.Error(w, "no leader", http.StatusInternalServerError) },
		// No event ends a slow answer: its length is the fault.
		"slow":     func(http.ResponseWriter) { time.Sleep(2 * time.Second); panic(http.ErrAbortHandler) },
		"redirect": func(w http.ResponseWriter) { w.Header().Set("Location", "/"); w.WriteHeader(http.StatusFound) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := startEtcd(t, "etcd-3.7.3", 1)
			y := &way{to: e.urls[0]}
			s := httptest.NewServer(y)
			defer s.Close()
			during(t, e, hostCount/3, []string{s.URL}, func(c *crowd) {
				y.spoil.Store(&spoil)
				c.reach(&y.bad, 20)
				y.spoil.Store(nil)
			})
		})
	}
}

// TestClock_OfTheEngineJumps_AllDone moves the only clock that hosts compare, by an hour back, and two hours ahead in all. It
// stays there: after a jump back a wave that was proven meanwhile opens as much later.
func TestClock_OfTheEngineJumps_AllDone(t *testing.T) {
	need(t, "etcd")
	t.Parallel()
	e := startEtcd(t, "etcd-3.7.3", 1)
	var shift atomic.Int64
	y := &way{to: e.urls[0]}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		y.ServeHTTP(&dated{w, time.Duration(shift.Load())}, r)
	}))
	defer s.Close()
	// A halt by seats that seem to have vanished ends when their hosts report.
	during(t, e, hostCount/3, []string{s.URL}, func(c *crowd) {
		for _, jump := range []time.Duration{-time.Hour, 0, time.Hour} {
			shift.Store(int64(jump))
			c.reach(&y.answers, int(y.answers.Load())+5)
		}
	})
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
