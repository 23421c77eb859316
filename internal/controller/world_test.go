// SPDX-License-Identifier: MIT

package controller_test

import (
	"context"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/controller"
	"ebpf-upgrader/internal/deliver"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// takesLong skips a test of many processes or of seconds where only the short ones are wanted: go test -short.
func takesLong(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes long")
	}
}

// guard guards a world with all its parts.
type guard struct{ mu sync.Mutex }

func (g *guard) change(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
}

// world is a host without a kernel, so that hours of a service's life pass in no time. The tests here are about when processes
// are inspected, and which are signalled again. That a signal is safe is proven on real processes, by the tests of cli.
type world struct {
	*guard
	places
	observed
	processes map[selector.PID]*selector.Process
	signals   map[selector.PID][]time.Time
	traces    map[selector.PID]selector.Trace
	ended     map[selector.PID]chan selector.Exit
	// down makes the source fail.
	down error
	// unlisted is no candidate.
	unlisted selector.PID
	events   chan selector.Event

	service *controller.Controller
	limits  rollout.Limits
	saved   *rollout.Snapshots
	// onSignal, if any, is told of each signal, with mu held.
	onSignal func(selector.PID)
	// brief makes the service follow its servers by itself.
	brief bool
	// learned lets the servers name the installs.
	learned bool
	// quiet, if any, says which servers are idle.
	quiet controller.Idleness
	// maxPerUser and maxPlaces are the limits of each user.
	maxPerUser, maxPlaces int
	// looks counts them, by process.
	looks map[selector.PID]int
	// unread, if any, says at which looks a process cannot be read.
	unread func(looks int) bool
	// unreadable is the same, of one.
	unreadable func(pid selector.PID, looks int) bool
	// secret has those of which nothing can be read but their identity.
	secret map[selector.PID]bool
	// fails, if any, is why nothing at all can be read of any process, not even which one it is.
	fails error
	// blind, if any, is why the tracer fails.
	blind error
	// unsaved, if any, is why nothing can be saved, and pauses what an operator's last request left.
	unsaved error
	pauses  rollout.Pauses
	// acted, if any, takes the acts that are reported.
	acted func(api.Act)
	// slowLook, if any, says how long an inspection of a process takes.
	slowLook func(selector.Process) time.Duration
	// isStale has a slow read return what was true when it began. slowSignal is how long it takes to send a signal: the server
	// has it at once.
	isStale    bool
	slowSignal time.Duration
	// sending counts the signals that are being sent, by user, and maxSending is the most of a user at a time.
	sending    map[uint32]int
	maxSending int
	// slowUser is how long it takes to read the owner of a process.
	slowUser time.Duration
	// slowOwner, if any, is the same, of one user.
	slowOwner func(user uint32) time.Duration
}

var (
	oldImage = selector.Image{Dev: 1, Ino: 10}
	newImage = selector.Image{Dev: 1, Ino: 20}
)

func newWorld() *world {
	g := new(guard)
	return &world{
		guard:     g,
		places:    newPlaces(g),
		observed:  observed{guard: g},
		processes: make(map[selector.PID]*selector.Process),
		signals:   make(map[selector.PID][]time.Time),
		looks:     map[selector.PID]int{},
		sending:   map[uint32]int{},
		secret:    map[selector.PID]bool{},
		events:    make(chan selector.Event),
		ended:     make(map[selector.PID]chan selector.Exit),
		traces:    make(map[selector.PID]selector.Trace),
		limits:    rollout.DefaultLimits(),
	}
}

// usual is the path that servers name as a rule.
const usual = "/bin/rag-rat"

func ready(image selector.Image) selector.Install {
	return selector.Install{Path: usual, Image: image, State: selector.StateReady}
}

// start adds a server that runs image and is armed.
func (w *world) start(pid selector.PID, image selector.Image) {
	w.change(func() {
		w.processes[pid] = &selector.Process{
			Identity: selector.Identity{PID: pid, StartTime: uint64(pid)},
			Age:      time.Hour, Args: []string{"rag-rat", "mcp"}, Named: true, Subcommand: true,
			Variable: usual, Path: usual, VariableSet: true, Image: image, Catches: true,
		}
		w.ended[pid] = make(chan selector.Exit, 1)
	})
}

func (w *world) Candidates(context.Context) ([]selector.PID, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var pids []selector.PID
	for pid := range w.processes {
		if pid != w.unlisted {
			pids = append(pids, pid)
		}
	}
	return pids, w.down
}

// keepPauses keeps what an operator requested for the next service.
func (w *world) keepPauses(pauses rollout.Pauses) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.unsaved == nil {
		w.pauses = pauses
	}
	return w.unsaved
}

func (w *world) signalCount(pid selector.PID) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.signals[pid])
}

func (w *world) upgrader() *deliver.Deliverer { return w.upgraderFor(0) }

func (w *world) upgraderFor(self selector.PID) *deliver.Deliverer {
	return deliver.New(deliver.Config{
		Self:      self,
		Rule:      selector.Rule{Pattern: selector.Pattern{Names: []string{"rag-rat"}, Subcommand: "mcp"}},
		Signal:    syscall.SIGUSR1,
		Inspector: w,
		Tracer:    w,
		Pin:       w.pin,
	})
}

// serve runs a service over the world until the test ends, or until the function it answers with is
// called.
func (w *world) serve(t *testing.T, scanEvery time.Duration) (stop func()) {
	t.Helper()
	cfg := controller.Config{
		Deliverer: w.upgrader(), Source: api.SourceBPF, Limits: w.limits, Lister: w, Installs: w, Paths: []string{usual}, Events: w.events,
		ScanEvery: scanEvery, Observer: w, Journal: newJournal(w), Saved: w.saved, Acted: w.acted, Pauses: w.pauses, KeepPauses: w.keepPauses,
		MaxPerUser: w.maxPerUser, MaxInstallsPerUser: w.maxPlaces, Quiet: w.quiet,
	}
	if w.brief {
		cfg.Events = nil
	}
	if w.learned {
		cfg.Paths = nil
	}
	w.service = controller.New(cfg)
	w.change(func() { w.stopped = make(chan struct{}) })
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- w.service.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		close(w.stopped)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	synctest.Wait()
	return stop
}

// pass lets the service run for d. What the test has read of the world happened before.
func (w *world) pass(d time.Duration) {
	w.change(func() {})
	time.Sleep(d)
	synctest.Wait()
}

func requireSignals(t *testing.T, w *world, pid selector.PID, want int, when string) {
	t.Helper()
	if got := w.signalCount(pid); got != want {
		t.Fatalf("%s: %d was signalled %d times, want %d", when, pid, got, want)
	}
}

// behind counts the servers of a report that may run another image than the installed one.
func behind(r api.Report) (n int) {
	for _, s := range r.Servers {
		if s.Stale {
			n++
		}
	}
	return n
}

func TestTrigger_SecondRound_SignalsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.start(7, oldImage)
		w.start(8, newImage)
		w.serve(t, 0)
		w.land(ready(newImage))
		w.pass(0)
		report, err := w.service.Trigger(t.Context(), "", 0)
		if err != nil || len(report.Plan) != 0 || behind(report) != 1 {
			t.Errorf("the second round planned %v with %d behind, %v; want none, 1", report.Plan, behind(report), err)
		}
		w.pass(time.Second)
		requireSignals(t, w, 7, 1, "after two rounds")
	})
}
