// SPDX-License-Identifier: MIT

package engines_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ebpf-upgrader/internal/fleet"
	"ebpf-upgrader/internal/fleet/record"
)

const (
	release = "sha256:9f2c41d0"
	slots   = 20
	// scale makes hosts wait less than the rule says.
	scale = 60
)

// hostCount is how many hosts there are. EBPF_UPGRADER_TEST_HOSTS sets it.
var hostCount = func() int {
	if n, err := strconv.Atoi(os.Getenv("EBPF_UPGRADER_TEST_HOSTS")); err == nil && n > 0 {
		return n
	}
	return 300
}()

// wavesPolicy has waves of 10, 100 and all. Engines tell seconds, so that a wave bakes for some of them.
const wavesPolicy = `{"version":1,"vanish":"5m","waves":[
 {"name":"canary","hosts":10,"slots":3,"bake":"2s","max_failed":1},
 {"name":"early","hosts":100,"slots":20,"bake":"2s","max_failed":2},
 {"name":"all","slots":20,"max_failed":3}]}`

// crowd is hosts that all want the same release.
type crowd struct {
	t *testing.T
	e *engine
	// urls are what the hosts reach the engine by; empty: the engine's own.
	urls []string
	// dies says which hosts fail.
	dies func(n int) bool

	inside, placed, done, failed, errors atomic.Int32
	// most is the largest number of hosts that were inside at a time. seats is the largest number of seats in the record.
	most, seats largest
}

// largest is the largest number that it was told.
type largest struct {
	mu sync.Mutex
	n  int32
}

func (l *largest) told(n int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n = max(l.n, n)
}

// run lets hosts go until each is done, has failed or was told that the release is halted.
func (c *crowd) run(ctx context.Context, hosts int) {
	ctx, cancel := context.WithTimeout(ctx, 8*time.Minute)
	defer cancel()
	begin := time.Now()
	var wg sync.WaitGroup
	for n := range hosts {
		wg.Go(func() { c.host(ctx, n) })
	}
	wg.Wait()
	c.t.Logf("%d hosts on %s in %.1f s: %d placed, %d done, %d failed, at most %d with a seat, %d at it at a time, %d calls failed",
		hosts, c.e.name, time.Since(begin).Seconds(), c.placed.Load(), c.done.Load(), c.failed.Load(), c.seats.n, c.most.n, c.errors.Load())
}

func (c *crowd) host(ctx context.Context, n int) {
	r := &record.Record{Store: c.e.store(c.urls...)}
	h := fleet.Host{ID: fmt.Sprintf("id-%d", n), Name: fmt.Sprintf("node-%d", n)}
	var a fleet.Answer
	var now time.Time
	for {
		c.must(ctx, r, func(v *record.View) (changed bool) {
			now = v.Now
			a, changed = v.Policy.Enter(&v.State, h, release, now)
			if r := v.State.Find(release); r != nil {
				c.seats.told(int32(r.InUse()))
			}
			return changed
		})
		if a.Granted() || a.Reason == fleet.Halted && c.dies != nil || ctx.Err() != nil {
			break
		}
		pause(ctx, fleet.Wait(a, now, rand.Float64())/scale)
	}
	if !a.Granted() {
		return
	}
	c.placed.Add(1)
	c.most.told(c.inside.Add(1))
	pause(ctx, 20*time.Millisecond) // the host puts the file in place
	c.inside.Add(-1)
	if c.dies != nil && c.dies(n) {
		c.failed.Add(1)
		c.must(ctx, r, func(v *record.View) bool { return v.Policy.Fail(&v.State, h, release, "died", v.Now) })
		return
	}
	c.must(ctx, r, func(v *record.View) bool { return v.Policy.Done(&v.State, h, release, v.Now) })
	c.done.Add(1)
}

// must tries until the engine has taken the change.
func (c *crowd) must(ctx context.Context, r *record.Record, change func(*record.View) bool) {
	for tries := 1; ctx.Err() == nil; tries++ {
		if err := r.Change(ctx, change); err == nil {
			return
		}
		c.errors.Add(1)
		pause(ctx, fleet.Retry(min(tries, 4), rand.Float64())/scale*4)
	}
	if ctx.Err() != nil {
		c.t.Error("a host has not come to its end in time")
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// allDone checks that bounds were kept and that every host was counted, once.
func (c *crowd) allDone(hosts int) {
	c.t.Helper()
	if c.most.n > slots || c.seats.n > slots {
		c.t.Errorf("%d hosts at a time, and %d seats in the record; slots are %d", c.most.n, c.seats.n, slots)
	}
	s, err := fleet.ParseState(load(c.t, c.e.store()).State)
	if err != nil {
		c.t.Fatal(err)
	}
	r := s.Find(release)
	if r == nil || r.Done != hosts || len(r.Seats) != 0 || len(r.Failed) != 0 {
		c.t.Errorf("%d hosts are done, and the record has %+v", c.done.Load(), r)
	}
}

func TestHosts_EachEngine_BoundsHoldAllDone(t *testing.T) {
	each(t, func(t *testing.T, e *engine) {
		e.with(t, wavesPolicy, "")
		c := &crowd{t: t, e: e}
		c.run(t.Context(), hostCount)
		c.allDone(hostCount)
	})
}

func TestHosts_BadFile_CostsCanariesOnly(t *testing.T) {
	each(t, func(t *testing.T, e *engine) {
		e.with(t, wavesPolicy, "")
		c := &crowd{t: t, e: e, dies: func(int) bool { return true }}
		c.run(t.Context(), hostCount)
		if c.placed.Load() > 3 || c.failed.Load() == 0 {
			t.Errorf("%d hosts were harmed", c.placed.Load())
		}
	})
}
