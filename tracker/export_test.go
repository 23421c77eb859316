// SPDX-License-Identifier: MIT

//go:build linux

package tracker

import (
	"context"
	"errors"
	"io"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
)

// OpenWithoutSignals is Open on a kernel that refuses to attach the program for signals. It replaces the program by one
// that cannot be attached to a tracepoint.
func OpenWithoutSignals(ctx context.Context, cfg Config) (*Tracker, error) {
	return openChanged(ctx, cfg, func(*ebpf.CollectionSpec) {}, func(t *Tracker) error {
		err := t.objects.OnSignal.Close()
		if err != nil {
			return err
		}
		t.objects.OnSignal, err = ebpf.NewProgram(&ebpf.ProgramSpec{
			Type:         ebpf.SocketFilter,
			Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
		})
		return err
	})
}

// OpenWithoutMarks is Open on a host where nearly every PID is beyond the marks, as after an increase of pid_max.
func OpenWithoutMarks(ctx context.Context, cfg Config) (*Tracker, error) {
	return openChanged(ctx, cfg, func(spec *ebpf.CollectionSpec) {
		spec.Maps["mark_lines"].MaxEntries = 1
	}, func(*Tracker) error { return nil })
}

// openChanged is Open with one change before the programs are loaded, and one before they are attached.
func openChanged(
	ctx context.Context, cfg Config, beforeLoad func(*ebpf.CollectionSpec), beforeStart func(*Tracker) error,
) (*Tracker, error) {
	spec, err := newSpec(cfg)
	if err != nil {
		return nil, err
	}
	beforeLoad(spec)
	t, err := load(cfg, spec)
	if err != nil {
		return nil, err
	}
	if err = beforeStart(t); err == nil {
		err = t.attach()
	}
	if err == nil {
		err = t.Seed(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// Programs returns the tracker's programs by tracepoint.
func (t *Tracker) Programs() map[string]*ebpf.Program {
	return map[string]*ebpf.Program{
		"sched_process_exec": t.objects.OnExec,
		"sched_process_fork": t.objects.OnFork,
		"sched_process_exit": t.objects.OnExit,
		"signal_generate":    t.objects.OnSignal,
	}
}

// EnableGateAt enables the gate at one hook only.
func (t *Tracker) EnableGateAt(name string) (*Gate, error) {
	for _, h := range hooks() {
		if h.name == name {
			g, err := t.openGate(h)
			t.gate.Store(g)
			return g, err
		}
	}
	return nil, errors.New("no such hook: " + name)
}

// ErrNeverRuns is the error of a gate that was attached and does not run.
var ErrNeverRuns = errNeverRuns

// Program returns the gate's program.
func (g *Gate) Program() *ebpf.Program { return g.program }

// KeepAttached returns another reference to the program's link, as a child has between its fork and its exec.
func (g *Gate) KeepAttached() (io.Closer, error) {
	l, ok := g.owned[0].(link.Link)
	if !ok {
		return nil, errors.New("the gate is not attached")
	}
	info, err := l.Info()
	if err != nil {
		return nil, err
	}
	return link.NewFromID(info.ID)
}

// IsPreemptible reports whether the kernel may preempt the programs.
func (t *Tracker) IsPreemptible() bool { return t.isPreemptible }

// IsKernelSince is the version check of the product.
var IsKernelSince = isKernelSince
