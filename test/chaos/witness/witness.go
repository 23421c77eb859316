// SPDX-License-Identifier: MIT

//go:build linux

// Package witness sees every SIGUSR1 of a PID namespace, and each exec and the end of every process, with a
// kernel program of its own. It is what the program under test is judged by, and shares no code with it.
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

// Kind says what was seen.
type Kind uint32

// The kinds of records.
const (
	// Signalled: Process was sent SIGUSR1 by Sender.
	Signalled Kind = 1
	// Ended: the last thread of Process exited.
	Ended Kind = 2
	// Execed: Process runs another image, with the default action in force.
	Execed Kind = 3
)

// Disposition is what a process does at SIGUSR1.
type Disposition uint32

// The dispositions of signal(7).
const (
	Default Disposition = iota
	Ignored
	Handled
)

// Record is one thing that was seen. Processes are named by their number in this program's PID namespace,
// and told apart by when they started.
type Record struct {
	// At is on CLOCK_MONOTONIC, and Start on CLOCK_BOOTTIME, in nanoseconds.
	At, Start uint64
	Kind      Kind
	Process   int32
	// Sender is 0 for the kernel, and for who is outside of the namespace.
	Sender int32
	// Detail is a Disposition, or the status of wait(2).
	Detail uint32
	// Result is what became of a signal: TRACE_SIGNAL_* in the kernel's include/trace/events/signal.h.
	Result uint32
	_      uint32
}

// The results of signals that reach the process: the second is without who sent it, for want of memory.
const (
	delivered = 0
	loseInfo  = 4
)

// Delivered says that the signal took effect, or will: the process was not ending, and none was pending.
func (r Record) Delivered() bool { return r.Result == delivered || r.Result == loseInfo }

// Caught says that the signal took effect in a handler, or will, unless the process execs before.
func (r Record) Caught() bool { return r.Delivered() && r.Disposition() == Handled }

// Status is how a process ended.
func (r Record) Status() syscall.WaitStatus { return syscall.WaitStatus(r.Detail) }

// Disposition is what the target was about to do when the signal was sent.
func (r Record) Disposition() Disposition { return Disposition(r.Detail) }

// Witness collects records until it is closed. It is safe for concurrent use.
type Witness struct {
	objects programObjects
	links   []link.Link
	ring    *ringbuf.Reader
	ended   chan struct{}

	mu      sync.Mutex // guards records
	records []Record
}

// Open begins to watch. It needs root and Linux 5.10 with BTF. The caller must Close the Witness.
func Open() (_ *Witness, err error) {
	w := &Witness{ended: make(chan struct{})}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("watch signals: %w", err), w.closeAll())
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
			return // closed, or there is nothing to wait for
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

// Close ends the watch, and gives all that was seen, in the order of their times on each CPU. It fails
// if anything was missed: then nothing can be said.
func (w *Witness) Close() ([]Record, error) {
	for _, l := range w.links {
		_ = l.Close()
	}
	w.links = nil
	err := w.ring.Flush() // follow takes what there is, then ends
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

// Now is the time of the records.
func Now() uint64 {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	return uint64(now.Nano())
}
