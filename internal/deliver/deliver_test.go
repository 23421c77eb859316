// SPDX-License-Identifier: MIT

package deliver_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"ebpf-upgrader/internal/deliver"
	"ebpf-upgrader/selector"
)

var (
	oldImage = selector.Image{Dev: 1, Ino: 10}
	newImage = selector.Image{Dev: 1, Ino: 20}
	install  = deliver.One{Install: selector.Install{Path: "/bin/rag-rat", Image: newImage, State: selector.StateReady}}
)

// fleet is a set of processes that can be inspected and signalled.
type fleet struct {
	mu        sync.Mutex // guards the rest
	processes map[selector.PID]*selector.Process
	reads     map[selector.PID]int
	signals   []selector.PID
	// unread says at which read a process cannot be read, and slow how long it takes to read one.
	unread func(pid selector.PID, reads int) bool
	slow   func(user uint32) time.Duration
	// trace has the traces, one after the other; its last one stays.
	trace    []selector.Trace
	traceErr error
	// onPin is called when a process is pinned.
	onPin func(p *selector.Process)
}

func newFleet(pids ...selector.PID) *fleet {
	f := &fleet{
		processes: map[selector.PID]*selector.Process{}, reads: map[selector.PID]int{},
		unread: func(selector.PID, int) bool { return false }, slow: func(uint32) time.Duration { return 0 },
	}
	for _, pid := range pids {
		f.add(pid, 0, oldImage)
	}
	return f
}

func (f *fleet) add(pid selector.PID, user uint32, image selector.Image) {
	p := &selector.Process{
		Identity: selector.Identity{PID: pid, StartTime: uint64(pid)}, Age: time.Hour, Args: []string{"rag-rat", "mcp"},
		Named: true, Subcommand: true, Variable: "/bin/rag-rat", Path: "/bin/rag-rat", VariableSet: true,
		Target: selector.File{Image: newImage, Mode: 0o100755}, Image: image, Catches: true,
	}
	p.Credentials.Owner.UID = user
	f.processes[pid] = p
}

func (f *fleet) Inspect(pid selector.PID, _ selector.Rule, _ time.Time) (selector.Process, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.processes[pid]
	if p == nil {
		return selector.Process{}, selector.ErrGone
	}
	takes := f.slow(p.Credentials.Owner.UID)
	f.mu.Unlock()
	time.Sleep(takes)
	f.mu.Lock()
	f.reads[pid]++
	read := *p
	if f.unread(pid, f.reads[pid]) {
		read.Unreadable = selector.Unreadable{Fact: selector.FactTarget, Why: "no answer"}
	}
	return read, nil
}

func (f *fleet) User(pid selector.PID) (selector.Identity, selector.User, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p := f.processes[pid]; p != nil {
		return p.Identity, p.Credentials.Owner, nil
	}
	return selector.Identity{}, selector.User{}, selector.ErrGone
}

func (f *fleet) Trace(selector.PID) (selector.Trace, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.trace) == 0 {
		return selector.Trace{}, f.traceErr
	}
	t := f.trace[0]
	if len(f.trace) > 1 {
		f.trace = f.trace[1:]
	}
	return t, f.traceErr
}

type target struct {
	f   *fleet
	pid selector.PID
}

func (t target) Signal(syscall.Signal) error {
	t.f.mu.Lock()
	defer t.f.mu.Unlock()
	t.f.signals = append(t.f.signals, t.pid)
	return nil
}

func (target) Wait(context.Context) (selector.Exit, error) { return selector.Exit{}, nil }

func (target) Close() error { return nil }

func (f *fleet) deliverer(self selector.PID) *deliver.Deliverer {
	return deliver.New(deliver.Config{
		Self:   self,
		Rule:   selector.Rule{Pattern: selector.Pattern{Names: []string{"rag-rat"}, Subcommand: "mcp"}},
		Signal: syscall.SIGUSR1, Inspector: f, Tracer: f,
		Pin: func(pid selector.PID) (deliver.Target, error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			if f.processes[pid] == nil {
				return nil, selector.ErrGone
			}
			if f.onPin != nil {
				f.onPin(f.processes[pid])
			}
			return target{f, pid}, nil
		},
	})
}

func TestDeliver_BeforeTheSignal_ChecksAll(t *testing.T) {
	for _, c := range []struct {
		name    string
		before  func(*fleet)
		verdict selector.Verdict
		err     error
		isSent  bool
	}{
		{"outdated", func(*fleet) {}, selector.Outdated, nil, true},
		{"up to date", func(f *fleet) { f.processes[7].Image = newImage }, selector.UpToDate, nil, false},
		{"no handler", func(f *fleet) { f.processes[7].Catches = false }, selector.NoHandler, nil, false},
		{"gone", func(f *fleet) { delete(f.processes, 7) }, selector.Gone, nil, false},
		{"another process has the PID", func(f *fleet) { f.onPin = func(p *selector.Process) { p.StartTime++ } }, selector.Outdated, nil, false},
		{"exec'd meanwhile", func(f *fleet) { f.trace = []selector.Trace{{Exec: 1}, {Exec: 2}} }, selector.NoHandler, nil, false},
		{"another sender's signal", func(f *fleet) { f.trace = []selector.Trace{{SignalledAt: time.Now()}} }, selector.Outdated, nil, false},
		{"an old signal", func(f *fleet) { f.trace = []selector.Trace{{SignalledAt: time.Now().Add(-time.Hour)}} }, selector.Outdated, nil, true},
		{"no trace", func(f *fleet) { f.traceErr = errTrace }, selector.Outdated, errTrace, false},
		{"untracked, long after the install", func(f *fleet) { f.trace = []selector.Trace{{IsUntracked: true}} }, selector.Outdated, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFleet(7)
			id := f.processes[7].Identity
			c.before(f)
			d := f.deliverer(0).Deliver(id, install)
			if d.Decision.Verdict != c.verdict || d.IsSent != c.isSent || !errors.Is(d.Err, c.err) || (len(f.signals) == 1) != c.isSent {
				t.Errorf("verdict %s, sent %t, error %v, signals %v; want %s, %t, %v", d.Decision.Verdict, d.IsSent, d.Err, f.signals, c.verdict, c.isSent, c.err)
			}
			if (d.Target != nil) != c.isSent {
				t.Error("only a process that was signalled stays pinned")
			}
		})
	}
}

var errTrace = errors.New("the map cannot be read")

func TestSurvey_UnreadProcess_IsInspectedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(7, 8)
		f.unread = func(_ selector.PID, reads int) bool { return reads < 5 }
		start := time.Now()
		s := f.deliverer(0).Survey(t.Context(), install, []selector.PID{7, 8})
		if took := time.Since(start); !slices.Equal(s.Plan, []selector.PID{7, 8}) || took > 300*time.Millisecond {
			t.Errorf("%v are planned after %s, want both after 300 ms", s.Plan, took)
		}
	})
}

func TestSurvey_UnreadableProcesses_EndsSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(1, 2, 3)
		f.unread = func(selector.PID, int) bool { return true }
		survey := func(ctx context.Context) time.Duration {
			start := time.Now()
			r := f.deliverer(0).Survey(ctx, install, []selector.PID{1, 2, 3})
			if len(r.Inspected) != 3 || r.Inspected[0].Decision.Verdict != selector.UnreadableFacts {
				t.Errorf("the processes are %v", r.Inspected)
			}
			return time.Since(start)
		}
		if took := survey(t.Context()); took > 700*time.Millisecond {
			t.Errorf("it took %s", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if took := survey(ctx); took > 100*time.Millisecond {
			t.Errorf("it took %s although it was to end after 100 ms", took)
		}
	})
}

func TestSurvey_SlowUser_DelaysNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(7)
		pids := []selector.PID{7}
		for pid := selector.PID(1000); pid < 3000; pid++ {
			f.add(pid, 1, newImage)
			pids = append(pids, pid)
		}
		f.slow = func(user uint32) time.Duration { return time.Duration(user) * 30 * time.Millisecond }
		start := time.Now()
		r := f.deliverer(0).Survey(t.Context(), install, pids)
		if took := time.Since(start); !slices.Equal(r.Plan, []selector.PID{7}) || took > 8*time.Second {
			t.Errorf("%v are planned after %s, want 7 alone, soon", r.Plan, took)
		}
		deferred := 0
		for _, i := range r.Inspected {
			if i.Decision.Detail == deliver.ReasonDeferred && i.Decision.Stale {
				deferred++
			}
		}
		if len(r.Inspected) != len(pids) || deferred == 0 {
			t.Errorf("%d processes are reported, %d as deferred; want %d, and some", len(r.Inspected), deferred, len(pids))
		}
	})
}
