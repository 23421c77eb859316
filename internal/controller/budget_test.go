// SPDX-License-Identifier: MIT

package controller_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"ebpf-upgrader/internal/registry"
	"ebpf-upgrader/selector"
)

// crowd starts servers of user 1 that run the old image, with an install for each.
func (w *world) crowd(n int, install func(i int) selector.Image) {
	for i := range n {
		path := fmt.Sprintf("/%d", i)
		w.files[path] = at(path, install(i))
		w.begin(selector.PID(1000+i), path, 1)
	}
}

func (w *world) slowLooks(takes func(selector.Process) time.Duration) {
	w.change(func() { w.slowLook = takes })
}

func another(i int) selector.Image { return selector.Image{Dev: 1, Ino: uint64(1000 + i)} }

// TestBudget_SlowFiles_DelayTheirUserOnly: whether one is still ready is signalled before each delivery.
func TestBudget_SlowFiles_DelayTheirUserOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHost()
		w.slowCheck = func(p registry.Key) (time.Duration, bool) { return 100 * time.Millisecond, p.Owner.UID == 1 }
		w.crowd(200, another)
		w.files["/b"] = at("/b", oldImage)
		w.begin(7, "/b", 2)
		w.serve(t, 0)
		w.pass(time.Minute)
		go w.land(at("/b", newImage))
		w.pass(time.Second)
		requireSignals(t, w, 7, 1, "a second after its install, beside slow files")
	})
}

func TestTrigger_SlowFiles_AnswersWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHost()
		for i := range 200 { // each sees another file at the path
			w.begin(selector.PID(1000+i), "/a", 1)
			w.processes[selector.PID(1000+i)].View = selector.View{Mounts: uint64(i + 1)}
		}
		w.files["/a"] = at("/a", oldImage)
		w.serve(t, 0)
		w.pass(time.Minute)
		w.change(func() {
			w.slowCheck = func(registry.Key) (time.Duration, bool) { return 100 * time.Millisecond, false }
		})
		start := time.Now()
		_, err := w.service.Trigger(t.Context(), "/a", 0)
		if took := time.Since(start); err != nil || took > time.Second {
			t.Errorf("the answer came after %s, %v; want it within a second", took, err)
		}
	})
}

// TestBudget_SlowProcesses_DelayTheirUserOnly: thousands of them exec without end.
func TestBudget_SlowProcesses_DelayTheirUserOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHost()
		w.files["/a"], w.files["/b"] = at("/a", newImage), at("/b", newImage)
		for i := range 3000 {
			w.begin(selector.PID(1000+i), "/a", 1)
			w.change(func() { w.processes[selector.PID(1000+i)].Image = newImage })
		}
		w.serve(t, 0)
		w.pass(time.Minute)
		w.slowLooks(func(p selector.Process) time.Duration {
			if p.Credentials.Owner.UID == 1 {
				return 100 * time.Millisecond
			}
			return 0
		})
		for i := range 3000 {
			w.events <- selector.Event{Kind: selector.EventExec, PID: selector.PID(1000 + i)}
		}
		w.pass(500 * time.Millisecond)
		w.begin(7, "/b", 2)
		go func() { w.events <- selector.Event{Kind: selector.EventExec, PID: 7} }()
		w.pass(time.Second)
		requireSignals(t, w, 7, 1, "a second after its exec, beside slow processes")
	})
}

// TestBudget_SlowDeliveries_DelayTheirUserOnly: each is read once more before it is signalled.
func TestBudget_SlowDeliveries_DelayTheirUserOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHost()
		w.crowd(200, func(int) selector.Image { return oldImage })
		w.files["/b"] = at("/b", oldImage)
		w.begin(7, "/b", 2)
		w.serve(t, 0)
		w.pass(time.Minute)
		w.slowLooks(func(p selector.Process) time.Duration {
			if p.Credentials.Owner.UID == 1 {
				return 100 * time.Millisecond
			}
			return 0
		})
		for i := range 200 {
			go w.land(at(fmt.Sprintf("/%d", i), another(i)))
		}
		w.pass(500 * time.Millisecond)
		go w.land(at("/b", newImage))
		w.pass(time.Second)
		requireSignals(t, w, 7, 1, "a second after its install, beside slow servers")
	})
}

// The servers of an ordinary user wait for nothing that can be felt.
func TestBudget_ThousandExecs_InspectedInASecond(t *testing.T) {
	takesLong(t)
	synctest.Test(t, func(t *testing.T) {
		w := newHost()
		w.files["/a"] = at("/a", newImage)
		w.begin(1, "/a", 1)
		w.serve(t, 0)
		w.pass(time.Minute)
		w.slowLooks(func(selector.Process) time.Duration { return 100 * time.Microsecond })
		for i := range 1000 {
			w.begin(selector.PID(1000+i), "/a", 1)
		}
		for i := range 1000 {
			w.events <- selector.Event{Kind: selector.EventExec, PID: selector.PID(1000 + i)}
		}
		w.pass(1100 * time.Millisecond)
		for i := range 1000 {
			requireSignals(t, w, selector.PID(1000+i), 1, "a second after a thousand have exec'd")
		}
	})
}

// A process that forks without end makes the kernel lose events.
// A resync that is to come stops no delivery.
// TestBudget_Inspections_DelayNoDelivery of the same user: those that have exec'd already are looked at meanwhile.
func TestBudget_Inspections_DelayNoDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHost()
		w.files["/a"], w.files["/b"] = at("/a", newImage), at("/b", oldImage)
		for i := range 1000 {
			w.begin(selector.PID(1000+i), "/a", 1)
			w.change(func() { w.processes[selector.PID(1000+i)].Image = newImage })
		}
		for i := range 100 {
			w.begin(selector.PID(1+i), "/b", 1)
		}
		w.serve(t, 0)
		w.pass(time.Minute)
		w.slowLooks(func(selector.Process) time.Duration { return 5 * time.Millisecond })
		for i := range 1000 {
			w.events <- selector.Event{Kind: selector.EventExec, PID: selector.PID(1000 + i)}
		}
		w.pass(100 * time.Millisecond)
		go w.land(at("/b", newImage))
		w.pass(12 * time.Second)
		for i := range 100 {
			requireSignals(t, w, selector.PID(1+i), 1, "beside a thousand looks")
		}
	})
}

// One user has processes by the thousand that answer as late as is waited for. They are inspected all the same, in the time of
// that user.
func TestResync_SlowUser_DelaysNoOther(t *testing.T) {
	takesLong(t)
	const many = 1000
	for name, begin := range map[string]func(t *testing.T, w *world){
		"at the start": func(t *testing.T, w *world) { w.serve(t, 0) },
		"after a loss": func(t *testing.T, w *world) {
			w.serveQuietly(t, 0)
			w.events <- selector.Event{Kind: selector.EventLost}
		},
		"at an audit": func(t *testing.T, w *world) {
			w.serveQuietly(t, time.Hour)
			w.pass(time.Hour - time.Minute)
		},
		"at a trigger": func(t *testing.T, w *world) {
			w.serveQuietly(t, 0)
			start := time.Now()
			report, err := w.service.Trigger(t.Context(), "", 0)
			if took := time.Since(start); err != nil || took > time.Second {
				t.Errorf("the answer came after %s, %v; want it within a second", took, err)
			}
			if len(report.Servers) != many+1 || behind(report) == 0 {
				t.Errorf("%d servers are told, %d of which may be behind; want %d, and some", len(report.Servers), behind(report), many+1)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newHost()
				w.files["/a"], w.files["/b"] = at("/a", newImage), at("/b", newImage)
				w.begin(1, "/b", 2)
				for i := range many {
					w.begin(selector.PID(1000+i), "/a", 1)
					w.change(func() { w.processes[selector.PID(1000+i)].Image = newImage })
				}
				w.slowLooks(func(p selector.Process) time.Duration {
					if p.Credentials.Owner.UID == 1 {
						return 30 * time.Millisecond
					}
					return 0
				})
				begin(t, w)
				w.begin(7, "/b", 2)
				go func() { w.events <- selector.Event{Kind: selector.EventExec, PID: 7} }()
				w.pass(time.Second)
				requireSignals(t, w, 7, 1, "a second after its exec")
				w.pass(10 * time.Minute)
				w.change(func() {
					for i := range many {
						if pid := selector.PID(1000 + i); w.looks[pid] == 0 {
							t.Fatalf("%d was not looked at in 10 minutes", pid)
						}
					}
				})
			})
		})
	}
}

// serveQuietly serves, and does not know a slow look for the first minute.
func (w *world) serveQuietly(t *testing.T, scanEvery time.Duration) {
	t.Helper()
	slow := w.slowLook
	w.slowLooks(nil)
	w.serve(t, scanEvery)
	w.pass(time.Minute)
	w.change(func() { clear(w.looks) })
	w.slowLooks(slow)
}

// Reading the owner of a process takes time as well.
func TestBudget_ThrottledUser_IsInspectedInTheEnd(t *testing.T) {
	takesLong(t)
	synctest.Test(t, func(t *testing.T) {
		const many = 1000
		w := newHost()
		w.files["/a"] = at("/a", newImage)
		w.begin(1, "/a", 1)
		w.serve(t, 0)
		w.pass(time.Minute)
		w.slowLooks(func(selector.Process) time.Duration { return 2 * time.Millisecond })
		w.change(func() { w.slowUser = 20 * time.Microsecond })
		for i := range many {
			w.begin(selector.PID(1000+i), "/a", 1)
		}
		for i := range many {
			w.events <- selector.Event{Kind: selector.EventExec, PID: selector.PID(1000 + i)}
		}
		w.pass(time.Minute)
		for i := range many {
			requireSignals(t, w, selector.PID(1000+i), 1, "a minute after a thousand slow ones have exec'd")
		}
	})
}
