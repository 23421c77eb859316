// SPDX-License-Identifier: MIT

//go:build linux

package tracker

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"ebpf-upgrader/gen"
)

// ErrGateUnavailable means that the gate cannot be used here. The error around it says why.
var ErrGateUnavailable = errors.New("the gate cannot be used")

// Gate refuses [Config.Signal] from one tracked process to another, or to itself, with EPERM. Every other signal and
// every other sender passes. It exists as long as this process does, and no longer: nothing is pinned.
//
// All methods are safe for concurrent use.
type Gate struct {
	tracker *Tracker
	way     string
	objects gen.GateVariables
	program *ebpf.Program
	counts  *ebpf.Map

	active atomic.Bool
	// use is held shared by methods that read the maps.
	use     sync.RWMutex
	closing sync.Once
	closed  error
	owned   []io.Closer
}

// way is one place that the program can be attached to.
type way struct {
	name, program string
	attach        func(*ebpf.Program) (link.Link, error)
}

// ways are tried in this order. The first needs no `lsm=` at boot. Under the second no run is left out since Linux 6.2: the
// kernel guards tracing programs against recursion, and LSM programs no more (bpf_prog_check_recur in
// include/linux/bpf_verifier.h).
func ways() []way {
	return []way{
		{"fmod_ret", gen.GateProgGateFmodRet, func(p *ebpf.Program) (link.Link, error) {
			return link.AttachTracing(link.TracingOptions{Program: p, AttachType: ebpf.AttachModifyReturn})
		}},
		{"lsm", gen.GateProgGateLsm, func(p *ebpf.Program) (link.Link, error) {
			return link.AttachLSM(link.LSMOptions{Program: p})
		}},
	}
}

// EnableGate loads and attaches the gate, and proves that it refuses. It is closed with the Tracker, or before by
// [Gate.Close]. It is to be called once, and not beside Close; before [Tracker.Seed] it takes a fiftieth of the time,
// because the kernel's type information is still at hand. It fails with [ErrGateUnavailable], which leaves the Tracker
// as it is.
func (t *Tracker) EnableGate() (*Gate, error) {
	if t.cfg.Signal == 0 {
		return nil, fmt.Errorf("%w: no signal is configured", ErrGateUnavailable)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.types == nil {
		t.types = btf.NewCache()
	}
	defer func() { t.types = nil }()
	var refused []error
	for _, w := range ways() {
		g, err := t.gateBy(w)
		if err == nil {
			t.gate.Store(g)
			return g, nil
		}
		refused = append(refused, fmt.Errorf("%s: %w", w.name, err))
	}
	return nil, fmt.Errorf("%w: %w; %w", ErrGateUnavailable, refused[0], refused[1])
}

// gateBy is the gate attached in one way, and proved.
func (t *Tracker) gateBy(w way) (*Gate, error) {
	g := &Gate{tracker: t, way: w.name}
	err := g.load(w)
	if err == nil {
		err = g.attach(w)
	}
	if err == nil {
		err = g.prove()
	}
	if err != nil {
		return nil, errors.Join(err, g.Close())
	}
	g.active.Store(true)
	return g, nil
}

// load shares the maps of the tracker. The other program is left out: a kernel may refuse one of the two.
func (g *Gate) load(w way) error {
	t := g.tracker
	spec, err := gateSpec(t.cfg, w)
	if err != nil {
		return err
	}
	spec.Maps[gen.GateMapServers].MaxEntries = t.capacity
	spec.Maps[gen.GateMapLines].MaxEntries = t.objects.Lines.MaxEntries()
	all, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{Cache: t.types, MapReplacements: map[string]*ebpf.Map{
		gen.GateMapServers: t.objects.Servers, gen.GateMapLines: t.objects.Lines,
	}})
	if err != nil {
		return whyNoGate(err)
	}
	defer all.Close() // of what is taken over below, only references
	if err := all.Assign(&g.objects); err != nil {
		return fmt.Errorf("read the embedded object: %w", err)
	}
	g.program, g.counts = all.DetachProgram(w.program), all.DetachMap(gen.GateMapRefusals)
	g.owned = []io.Closer{g.program, g.counts}
	return nil
}

// gateSpec is the object with one program, and the knobs set.
func gateSpec(cfg Config, w way) (*ebpf.CollectionSpec, error) {
	spec, err := gen.LoadGate()
	if err != nil {
		return nil, fmt.Errorf("read the embedded object: %w", err)
	}
	for name := range spec.Programs {
		if name != w.program {
			delete(spec.Programs, name)
		}
	}
	var vars gen.GateVariableSpecs
	if err := spec.Assign(&vars); err != nil {
		return nil, fmt.Errorf("read the embedded object: %w", err)
	}
	own, err := ownPIDNamespace()
	return spec, errors.Join(err, vars.PidNamespace.Set(own), vars.GateSignal.Set(uint32(cfg.Signal)))
}

func (g *Gate) attach(w way) error {
	l, err := w.attach(g.program)
	if err != nil {
		return whyNoGate(err)
	}
	g.owned = append([]io.Closer{l}, g.owned...) // detached first
	return nil
}

// whyNoGate keeps the first line of an error: a verifier's log follows in others. The tracker has been loaded with
// the same capabilities, so EPERM is not for want of them.
func whyNoGate(err error) error {
	var refused *ebpf.VerifierError
	switch {
	case errors.Is(err, unix.EPERM):
		return errors.New("this kernel does not permit the program")
	case errors.As(err, &refused):
		return fmt.Errorf("the kernel's verifier refuses the program: %w", refused.Cause)
	}
	return err
}

// errNeverRuns is where attaching succeeds all the same: on Linux 5.10, and where bpf is not among the LSMs.
var errNeverRuns = errors.New("the program is attached, but does not run")

// prove sends signal 0 from this process to itself: the program refuses that while it is told to, and the kernel never
// does.
func (g *Gate) prove() error {
	if err := g.objects.Prober.Set(uint32(os.Getpid())); err != nil {
		return fmt.Errorf("prove: %w", err)
	}
	sent := unix.Kill(os.Getpid(), 0)
	var proofs uint64
	if err := errors.Join(g.objects.Prober.Set(uint32(0)), g.objects.Proofs.Get(&proofs)); err != nil {
		return fmt.Errorf("prove: %w", err)
	}
	switch {
	case proofs == 0:
		return errNeverRuns
	case !errors.Is(sent, unix.EPERM):
		return fmt.Errorf("the program runs, but a signal that it refuses passes (%w)", sent)
	}
	return nil
}

// Way is what the program is attached to: "fmod_ret" or "lsm".
func (g *Gate) Way() string { return g.way }

// Active reports whether the gate refuses: until Close, that of the Tracker included.
func (g *Gate) Active() bool { return g.active.Load() }

// Close ends the gate: from then on every signal passes. It may be called more than once.
func (g *Gate) Close() error {
	g.closing.Do(func() {
		g.active.Store(false)
		g.use.Lock()
		defer g.use.Unlock()
		var errs []error
		if g.objects.Closed != nil { // else it was never loaded
			errs = append(errs, g.objects.Closed.Set(uint32(1)))
		}
		for _, c := range g.owned {
			errs = append(errs, c.Close())
		}
		g.closed = errors.Join(errs...)
	})
	return g.closed
}
