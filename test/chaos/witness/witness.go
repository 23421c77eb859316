// SPDX-License-Identifier: MIT

//go:build linux

// Package witness records every SIGUSR1 in a PID namespace, each exec and the end of every process, with a kernel
// program of its own. The records are the basis on which the program under test is judged. The package shares no code
// with it.
package witness

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"syscall"

	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"
)

//go:generate go tool bpf2go -go-package witness -target bpfel program bpf/witness.c -- -O2 -g -Wall -Werror

// Kind is the kind of a record.
type Kind uint32

// The kinds of records.
const (
	// Signalled: Sender sent SIGUSR1 to Process.
	Signalled Kind = 1
	// Ended: the last thread of Process exited.
	Ended Kind = 2
	// Execed: Process runs another image, with the default action for SIGUSR1.
	Execed Kind = 3
)

// Disposition is what a process does with SIGUSR1.
type Disposition uint32

// The dispositions of signal(7).
const (
	Default Disposition = iota
	Ignored
	Handled
)

// Record is one event. A process is identified by its PID in this program's PID namespace and its start time.
type Record struct {
	// At is on CLOCK_MONOTONIC, Start on CLOCK_BOOTTIME, both in nanoseconds.
	At, Start uint64
	Kind      Kind
	Process   int32
	// Sender is 0 for the kernel and for a process outside of the namespace.
	Sender int32
	// Detail is a Disposition or the status of wait(2).
	Detail uint32
	// Result is the outcome of a signal: TRACE_SIGNAL_* in the kernel's include/trace/events/signal.h.
	Result uint32
	_      uint32
}

// The results of signals that reach the process. The second one lacks the sender for want of memory.
const (
	delivered = 0
	loseInfo  = 4
)

// Delivered reports whether the signal takes effect: the process was not ending, and none was pending.
func (r Record) Delivered() bool { return r.Result == delivered || r.Result == loseInfo }

// Caught reports whether the signal takes effect in a handler, unless the process execs before.
func (r Record) Caught() bool { return r.Delivered() && r.Disposition() == Handled }

// Status returns the status of an end.
func (r Record) Status() syscall.WaitStatus { return syscall.WaitStatus(r.Detail) }

// Disposition returns what the target would have done when the signal was sent.
func (r Record) Disposition() Disposition { return Disposition(r.Detail) }

// Witness collects records until it is closed. Its methods are safe for concurrent use.
type Witness struct {
	objects programObjects
	links   []link.Link
	ring    *ringbuf.Reader
	ended   chan struct{}

	mu      sync.Mutex // guards records
	records []Record
}

// Open starts to record. It needs root and Linux 5.10 with BTF. The caller must close the witness.
func Open() (_ *Witness, err error) {
	w := &Witness{ended: make(chan struct{})}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("record signals: %w", err), w.closeAll())
		}
	}()
	spec, err := loadProgram()
	if err != nil {
		return nil, err
	}
	var own unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &own); err != nil {
		return nil, err
	}
	if err := spec.Variables["pid_namespace"].Set(uint32(own.Ino)); err != nil {
		return nil, err
	}
	if err := spec.LoadAndAssign(&w.objects, nil); err != nil {
		return nil, err
	}
	if w.ring, err = ringbuf.NewReader(w.objects.Records); err != nil {
		return nil, err
	}
	for _, options := range []link.TracingOptions{
		{Program: w.objects.OnSignal}, {Program: w.objects.OnExec}, {Program: w.objects.OnExit},
	} {
		l, err := link.AttachTracing(options)
		if err != nil {
			return nil, err
		}
		w.links = append(w.links, l)
	}
	go w.follow()
	return w, nil
}

func (w *Witness) follow() {
	defer close(w.ended)
	var raw ringbuf.Record
	for {
		if err := w.ring.ReadInto(&raw); err != nil {
			return // closed or flushed
		}
		var r Record
		if err := binary.Read(bytes.NewReader(raw.RawSample), binary.NativeEndian, &r); err != nil {
			continue
		}
		if r.Process == 0 {
			continue // of another namespace
		}
		w.mu.Lock()
		w.records = append(w.records, r)
		w.mu.Unlock()
	}
}

// Close stops recording and returns all records. Those of one CPU are in the order of their times. It fails if a
// record was lost, because then nothing is proven.
func (w *Witness) Close() ([]Record, error) {
	for _, l := range w.links {
		_ = l.Close()
	}
	w.links = nil
	err := w.ring.Flush() // follow reads the rest, then ends
	if err != nil {
		return nil, errors.Join(err, w.closeAll())
	}
	<-w.ended
	var lost uint64
	err = w.objects.Lost.Get(&lost)
	if err == nil && lost > 0 {
		err = fmt.Errorf("the witness missed %d records", lost)
	}
	return w.records, errors.Join(err, w.closeAll())
}

func (w *Witness) closeAll() error {
	for _, l := range w.links {
		_ = l.Close()
	}
	if w.ring != nil {
		_ = w.ring.Close()
	}
	return w.objects.Close()
}

// Now returns the time on the clock of Record.At.
func Now() uint64 {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	return uint64(now.Nano())
}
