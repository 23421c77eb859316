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

// OpenWithoutSignals is Open on a kernel that refuses to attach the program for signals: in its
// place there is one that cannot be attached to a tracepoint.
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

// OpenWithoutMarks is Open on a host where nearly every PID is beyond the marks, as when pid_max is
// raised afterwards.
func OpenWithoutMarks(ctx context.Context, cfg Config) (*Tracker, error) {
	return openChanged(ctx, cfg, func(spec *ebpf.CollectionSpec) {
		spec.Maps["lines"].MaxEntries = 1
	}, func(*Tracker) error { return nil })
}

// openChanged is Open with a change before the programs are loaded, and one before they are attached.
func openChanged(
	ctx context.Context, cfg Config, beforeLoad func(*ebpf.CollectionSpec), beforeStart func(*Tracker) error,
) (*Tracker, error) {
	spec, err := configured(cfg)
	if err != nil {
		return nil, err
	}
	beforeLoad(spec)
	t, err := loaded(cfg, spec)
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

// Programs are the tracker's programs by the tracepoint that each is attached to.
func (t *Tracker) Programs() map[string]*ebpf.Program {
	return map[string]*ebpf.Program{
		"sched_process_exec": t.objects.OnExec,
		"sched_process_fork": t.objects.OnFork,
		"sched_process_exit": t.objects.OnExit,
		"signal_generate":    t.objects.OnSignal,
	}
}

// EnableGateBy enables the gate in one way only.
func (t *Tracker) EnableGateBy(name string) (*Gate, error) {
	for _, w := range ways() {
		if w.name == name {
			g, err := t.gateBy(w)
			t.gate.Store(g)
			return g, err
		}
	}
	return nil, errors.New("no such way: " + name)
}

// ErrNeverRuns is why a gate is turned down that was attached all the same.
var ErrNeverRuns = errNeverRuns

// Program is the gate's program.
func (g *Gate) Program() *ebpf.Program { return g.program }

// KeepAttached is another reference to the program's attachment, as a child has between its fork and its exec.
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
