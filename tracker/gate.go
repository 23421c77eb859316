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

// ErrGateUnavailable means that the gate cannot be used here. The error that wraps it says why.
var ErrGateUnavailable = errors.New("the gate cannot be used")

// Gate refuses [Config.Signal] from one tracked process to another, or to itself, with EPERM. Every other signal and
// every other sender passes. The gate ends with this process at the latest, because nothing is pinned.
//
// All methods are safe for concurrent use.
type Gate struct {
	tracker *Tracker
	hook    string
	objects gen.GateVariables
	program *ebpf.Program
	counts  *ebpf.Map

	active atomic.Bool
	// use is held shared by the methods that use the maps, and exclusively by Close.
	use     sync.RWMutex
	closing sync.Once
	closed  error
	owned   []io.Closer
}

// hook is one place in the kernel that the program can be attached to.
type hook struct {
	name, program string
	attach        func(*ebpf.Program) (link.Link, error)
}

// hooks are tried in this order. Since Linux 6.2 lsm misses no run: the kernel guards tracing programs against recursion,
// but LSM programs no longer (bpf_prog_check_recur in include/linux/bpf_verifier.h). fmod_ret needs no `lsm=` at boot.
func hooks() []hook {
	fmodRet := hook{"fmod_ret", gen.GateProgGateFmodRet, func(p *ebpf.Program) (link.Link, error) {
		return link.AttachTracing(link.TracingOptions{Program: p, AttachType: ebpf.AttachModifyReturn})
	}}
	lsm := hook{"lsm", gen.GateProgGateLsm, func(p *ebpf.Program) (link.Link, error) {
		return link.AttachLSM(link.LSMOptions{Program: p})
	}}
	if isKernelSince(6, 2) {
		return []hook{lsm, fmodRet}
	}
	return []hook{fmodRet, lsm}
}

// EnableGate loads and attaches the gate, and proves that it refuses. Close of the Tracker closes it, or [Gate.Close]
// before that. It must be called at most once, and not at the same time as Close. Before [Tracker.Seed] it takes a
// fiftieth of the time, because the kernel's type information is still cached. It fails with [ErrGateUnavailable], and
// leaves the Tracker unchanged then.
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
	for _, h := range hooks() {
		g, err := t.openGate(h)
		if err == nil {
			t.gate.Store(g)
			return g, nil
		}
		refused = append(refused, fmt.Errorf("%s: %w", h.name, err))
	}
	return nil, fmt.Errorf("%w: %w; %w", ErrGateUnavailable, refused[0], refused[1])
}

// openGate loads the gate, attaches it to one hook and proves it.
func (t *Tracker) openGate(h hook) (*Gate, error) {
	g := &Gate{tracker: t, hook: h.name}
	err := g.load(h)
	if err == nil {
		err = g.attach(h)
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

// load loads the program for one hook alone, because a kernel may refuse the other. The maps are the tracker's.
func (g *Gate) load(h hook) error {
	t := g.tracker
	spec, err := gateSpec(t.cfg, h)
	if err != nil {
		return err
	}
	spec.Maps[gen.GateMapServers].MaxEntries = t.capacity
	spec.Maps[gen.GateMapMarkLines].MaxEntries = t.objects.MarkLines.MaxEntries()
	all, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{Cache: t.types, MapReplacements: map[string]*ebpf.Map{
		gen.GateMapServers: t.objects.Servers, gen.GateMapMarkLines: t.objects.MarkLines,
	}})
	if err != nil {
		return gateError(err)
	}
	defer all.Close() // the parts that are detached below stay open
	if err := all.Assign(&g.objects); err != nil {
		return fmt.Errorf("read the embedded object: %w", err)
	}
	g.program, g.counts = all.DetachProgram(h.program), all.DetachMap(gen.GateMapRefusals)
	g.owned = []io.Closer{g.program, g.counts}
	return nil
}

// gateSpec is the object with the program for one hook, and its variables set.
func gateSpec(cfg Config, h hook) (*ebpf.CollectionSpec, error) {
	spec, err := gen.LoadGate()
	if err != nil {
		return nil, fmt.Errorf("read the embedded object: %w", err)
	}
	for name := range spec.Programs {
		if name != h.program {
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

func (g *Gate) attach(h hook) error {
	l, err := h.attach(g.program)
	if err != nil {
		return gateError(err)
	}
	g.owned = append([]io.Closer{l}, g.owned...) // closed first
	return nil
}

// gateError leaves out the verifier's log, which has many lines. EPERM does not mean missing capabilities: the tracker
// was loaded with the same ones.
func gateError(err error) error {
	var refused *ebpf.VerifierError
	switch {
	case errors.Is(err, unix.EPERM):
		return errors.New("this kernel does not permit the program")
	case errors.As(err, &refused):
		return fmt.Errorf("the kernel's verifier refuses the program: %w", refused.Cause)
	}
	return err
}

// errNeverRuns means that attaching succeeded without effect, as under lsm on Linux 5.10 and where bpf is not among the
// kernel's LSMs.
var errNeverRuns = errors.New("the program is attached, but does not run")

// prove sends signal 0 from this process to itself. The program refuses it while prober is set; the kernel never does.
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
		return fmt.Errorf("the program runs, but a signal that it refuses is sent (%w)", sent)
	}
	return nil
}

// Hook is the kernel hook that the program is attached to: "fmod_ret" or "lsm".
func (g *Gate) Hook() string { return g.hook }

// Active reports whether the gate refuses signals. It is true until Close of the Gate or of the Tracker.
func (g *Gate) Active() bool { return g.active.Load() }

// Close ends the gate: every signal passes afterwards. It may be called more than once.
func (g *Gate) Close() error {
	g.closing.Do(func() {
		g.active.Store(false)
		g.use.Lock()
		defer g.use.Unlock()
		var errs []error
		if g.objects.Closed != nil { // nil: it was never loaded
			errs = append(errs, g.objects.Closed.Set(uint32(1)))
		}
		for _, c := range g.owned {
			errs = append(errs, c.Close())
		}
		g.closed = errors.Join(errs...)
	})
	return g.closed
}
