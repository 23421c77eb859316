// SPDX-License-Identifier: MIT

//go:build linux

package tracker

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"ebpf-upgrader/gen"
	"ebpf-upgrader/selector"
)

// ErrUnwatched means that signals are not watched. The error that wraps it says why.
var ErrUnwatched = errors.New("signals are not watched")

// WatchesSignals reports whether [Config.Signal] is watched: it is set, and the kernel accepted the program. The result
// does not change until Close.
func (t *Tracker) WatchesSignals() bool { return t.signalErr == nil }

// Trace returns what the programs recorded of a process.
//
// A signal counts from the moment when the call that sent it has returned, before its target can act on it. A signal to
// one thread counts for its process. Times are of CLOCK_MONOTONIC, which stands still while the host sleeps.
//
// It fails with [ErrUnwatched] if WatchesSignals is false, and with [ErrClosed]. It costs one lookup in the map (some 2
// microseconds), waits for no scan, and is safe for concurrent use.
func (t *Tracker) Trace(pid selector.PID) (selector.Trace, error) {
	if t.signalErr != nil {
		return selector.Trace{}, t.signalErr
	}
	s, known, err := t.entry(pid)
	if err != nil {
		return selector.Trace{}, err
	}
	trace := selector.Trace{Exec: s.CreatedAt, IsUntracked: !known}
	if s.SignalledAt != 0 {
		trace.SignalledAt = timeOf(s.SignalledAt)
	}
	return trace, nil
}

// entry returns the entry of a process, and whether the map has one.
func (t *Tracker) entry(pid selector.PID) (s gen.ExecTrackerServer, known bool, err error) {
	t.use.RLock()
	defer t.use.RUnlock()
	if t.isClosed {
		return s, false, ErrClosed
	}
	err = t.objects.Servers.Lookup(uint32(pid), &s)
	switch {
	case errors.Is(err, ebpf.ErrKeyNotExist):
		return s, false, nil
	case err != nil:
		return s, false, fmt.Errorf("look up %d: %w", pid, err)
	}
	return s, true, nil
}

// lastSignal is the highest signal number, _NSIG of include/uapi/asm-generic/signal.h. (MIPS has more.)
const lastSignal = 64

func setSignal(vars gen.ExecTrackerVariableSpecs, sig syscall.Signal) error {
	if sig < 0 || sig > lastSignal {
		return fmt.Errorf("watch signal %d: %w", int(sig), unix.EINVAL)
	}
	return vars.SignalNumber.Set(uint32(sig))
}

// watchSignal attaches the program for signals. Its error says why signals are not watched, which does not affect the
// set of servers.
func (t *Tracker) watchSignal() error {
	if t.cfg.Signal == 0 {
		return fmt.Errorf("%w: no signal is configured", ErrUnwatched)
	}
	if err := t.attachTo(t.objects.OnSignal); err != nil {
		return fmt.Errorf("%w: %w", ErrUnwatched, err)
	}
	return nil
}
