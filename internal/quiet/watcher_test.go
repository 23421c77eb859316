// SPDX-License-Identifier: MIT

package quiet_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"ebpf-upgrader/internal/quiet"
	"ebpf-upgrader/selector"
)

// processes is a Reader without processes. The tests of procfs cover what the kernel shows.
type processes struct {
	activity map[selector.PID]selector.Activity
	runs     map[selector.PID]bool
	// takes is the time of one sample, and spent that of all samples.
	takes, spent time.Duration
	samples      int
}

func newProcesses() *processes {
	return &processes{activity: make(map[selector.PID]selector.Activity), runs: make(map[selector.PID]bool)}
}

func (p *processes) Activity(pid selector.PID) (selector.Activity, error) {
	time.Sleep(p.takes)
	p.spent += p.takes
	p.samples++
	a, lives := p.activity[pid]
	if !lives {
		return a, errors.New("gone")
	}
	return a, nil
}

func (p *processes) HasBusyThread(pid selector.PID) (bool, error) { return p.runs[pid], nil }

func id(pid selector.PID) selector.Identity {
	return selector.Identity{PID: pid, StartTime: uint64(pid)}
}

const after = 200 * time.Millisecond

// judge returns the verdicts of a Watcher over some time, one every 10 ms. Equal verdicts in a row are listed once.
func judge(w *quiet.Watcher, pid selector.PID, long time.Duration) (verdicts []selector.Idleness) {
	for end := time.Now().Add(long); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		v := w.Judge(id(pid), selector.User{UID: 1})
		if len(verdicts) == 0 || verdicts[len(verdicts)-1] != v {
			verdicts = append(verdicts, v)
		}
	}
	return verdicts
}

func want(t *testing.T, when string, got []selector.Idleness, want ...selector.Idleness) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: the verdicts are %v, want %v", when, got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("%s: the verdicts are %v, want %v", when, got, want)
		}
	}
}

func TestWatcher_NothingDone_IsIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProcesses()
		p.activity[1] = selector.Activity{IsCounted: true, Reads: 7}
		w := quiet.New(p, after)
		want(t, "before", judge(w, 1, after), selector.IdleUnknown)
		want(t, "after", judge(w, 1, time.Second), selector.IdleYes)
		p.activity[1] = selector.Activity{IsCounted: true, Reads: 8}
		want(t, "after a read", judge(w, 1, after), selector.IdleNo)
		want(t, "long after it", judge(w, 1, time.Second), selector.IdleYes)
	})
}

func TestWatcher_WatchedBefore_IsIdleAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProcesses()
		p.activity[1] = selector.Activity{IsCounted: true}
		w := quiet.New(p, after)
		w.Begin(id(1), selector.User{UID: 1})
		time.Sleep(time.Second)
		want(t, "the first call", judge(w, 1, time.Millisecond), selector.IdleYes)
		if p.samples != 2 {
			t.Errorf("%d samples were taken, want 2", p.samples)
		}
		time.Sleep(time.Second)
		p.activity[1] = selector.Activity{IsCounted: true, Writes: 1}
		want(t, "a call after a write at some time", judge(w, 1, after), selector.IdleUnknown)
		want(t, "and later", judge(w, 1, after), selector.IdleYes)
	})
}

func TestWatcher_ThreadWorks_IsBusy(t *testing.T) {
	for name, counted := range map[string]bool{"with counters": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newProcesses()
				p.activity[1], p.runs[1] = selector.Activity{IsCounted: counted}, true
				w := quiet.New(p, after)
				verdicts := judge(w, 1, time.Second)
				want(t, "while it runs", verdicts[len(verdicts)-1:], selector.IdleNo)
				p.runs[1] = false
				time.Sleep(after)
				want(t, "when it does not", judge(w, 1, time.Second), selector.IdleYes)
			})
		})
	}
}

func TestWatcher_ProcessGone_IsIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want(t, "a process that is gone", judge(quiet.New(newProcesses(), after), 1, time.Second), selector.IdleYes)
	})
}

func TestWatcher_PIDUsedAgain_StartsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProcesses()
		p.activity[1] = selector.Activity{IsCounted: true}
		w := quiet.New(p, after)
		w.Begin(selector.Identity{PID: 1, StartTime: 99}, selector.User{UID: 1})
		time.Sleep(time.Second)
		want(t, "the next process with the PID", judge(w, 1, after), selector.IdleUnknown)
	})
}

// A sample is slow if another process has the processor.
func TestWatcher_OneSlowSample_DelaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProcesses()
		w := quiet.New(p, after)
		for pid := range selector.PID(100) {
			p.activity[pid] = selector.Activity{IsCounted: true}
			w.Begin(id(pid), selector.User{UID: 1})
		}
		p.takes = 100 * time.Millisecond
		w.Begin(id(100), selector.User{UID: 1})
		p.takes = 0
		p.activity[100] = selector.Activity{IsCounted: true}
		w.Forget(100)
		w.Begin(id(100), selector.User{UID: 1})
		want(t, "after a slow sample", judge(w, 100, 2*after), selector.IdleUnknown, selector.IdleYes)
	})
}

func TestWatcher_ThousandBusy_StaysInBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, start := newProcesses(), time.Now()
		p.takes = 10 * time.Microsecond
		w := quiet.New(p, after)
		for time.Since(start) < 5*time.Second {
			for pid := range selector.PID(1000) {
				p.activity[pid] = selector.Activity{IsCounted: true, Reads: uint64(time.Now().UnixNano())}
				if w.Judge(id(pid), selector.User{UID: 1}) == selector.IdleYes {
					t.Fatal("a busy process is idle")
				}
			}
			time.Sleep(50 * time.Millisecond)
		}
		if limit := time.Since(start)/200 + 2*1000*p.takes; p.spent > limit { // and two samples of each
			t.Errorf("the samples of 5 s took %s, want %s at most", p.spent, limit)
		}
		if p.samples < 2500 {
			t.Errorf("%d samples were taken, want one of each every two seconds", p.samples)
		}
	})
}

func TestWatcher_ManyIdle_AllKnownAfterIdleTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const many = 5000
		p := newProcesses()
		p.takes = 10 * time.Microsecond
		w := quiet.New(p, after)
		for pid := range selector.PID(many) {
			p.activity[pid] = selector.Activity{IsCounted: true}
			w.Begin(id(pid), selector.User{UID: 1})
		}
		time.Sleep(after)
		for pid := range selector.PID(many) {
			if v := w.Judge(id(pid), selector.User{UID: 1}); v != selector.IdleYes {
				t.Fatalf("process %d of %d: %v after the idle time, want idle", pid, many, v)
			}
		}
		if p.samples > 2*many {
			t.Errorf("%d samples, want two of each process", p.samples)
		}
	})
}
