// SPDX-License-Identifier: MIT

package controller_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ebpf-upgrader/selector"
)

// alwaysBusy says of each server that it is busy, which takes some time to find out.
type alwaysBusy struct {
	takes time.Duration
	calls atomic.Int64
}

func (*alwaysBusy) Begin(selector.Identity, selector.User) {}
func (*alwaysBusy) Forget(selector.PID)                    {}
func (b *alwaysBusy) Judge(selector.Identity, selector.User) selector.Idleness {
	time.Sleep(b.takes)
	b.calls.Add(1)
	return selector.IdleNo
}

// Each event of any process may change which member goes next.
func TestBudget_BusyServers_LeaveTimeForEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, busy := newHost(), &alwaysBusy{takes: 10 * time.Microsecond}
		w.quiet, w.limits.QuietWithin = busy, time.Hour
		w.files["/a"] = at("/a", newImage)
		for pid := range selector.PID(400) {
			w.begin(pid+1, "/a", 1)
		}
		w.serve(t, 0)
		w.pass(time.Second)
		start, calls := time.Now(), busy.calls.Load()
		for range 1000 {
			w.events <- selector.Event{Kind: selector.EventExit, PID: 1 << 20}
			time.Sleep(100 * time.Microsecond)
		}
		took, spent := time.Since(start), time.Duration(busy.calls.Load()-calls)*busy.takes
		if spent == 0 || spent > took/4 {
			t.Errorf("%s of %s were spent on servers that wait, want a fifth", spent, took)
		}
	})
}

// A user has processes of which it takes 7 ms each to read the owner: the loop goes on, and so does a server that has just
// started.
func TestBudget_SlowOwners_DelayNoNewServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHost()
		w.slowOwner = func(user uint32) time.Duration { return time.Duration(user%2) * 7 * time.Millisecond }
		w.files["/a"], w.files["/b"] = at("/a", newImage), at("/b", newImage)
		for pid := range selector.PID(4096) {
			w.begin(pid+1, "/a", 1)
		}
		w.serve(t, 0)
		w.begin(9000, "/b", 2)
		w.events <- selector.Event{Kind: selector.EventExec, PID: 9000}
		start := time.Now()
		if w.status(t); time.Since(start) > time.Millisecond {
			t.Errorf("the loop answered after %s", time.Since(start))
		}
		w.pass(time.Second)
		if w.looksAt(9000) == 0 {
			t.Error("the new server was not inspected within a second")
		}
	})
}
