// SPDX-License-Identifier: MIT

//go:build linux

package tracker

import (
	"context"
	"errors"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// OpenWithoutSignals is Open on a kernel that refuses to attach the program for signals: in its
// place there is one that cannot be attached to a tracepoint.
func OpenWithoutSignals(ctx context.Context, cfg Config) (*Tracker, error) {
	t, err := loaded(cfg)
	if err != nil {
		return nil, err
	}
	err = t.objects.OnSignal.Close()
	if err == nil {
		t.objects.OnSignal, err = ebpf.NewProgram(&ebpf.ProgramSpec{
			Type:         ebpf.SocketFilter,
			Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
		})
	}
	if err == nil {
		err = t.start(ctx)
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
