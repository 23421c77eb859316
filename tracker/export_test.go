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
