// SPDX-License-Identifier: MIT

//go:build linux

package tracker_test

import (
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

// A task that is preempted between the reservation and the submission of an event would block the reader of the ring.
func TestReport_KernelHasKfuncs_NotPreempted(t *testing.T) {
	t.Parallel()
	s := newScene(t, nil)
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		t.Fatal(err)
	}
	var kfunc *btf.Func
	hasKfuncs := kernel.TypeByName("bpf_preempt_enable", &kfunc) == nil
	for name, program := range s.Programs() {
		info, err := program.Info()
		if err != nil {
			t.Fatal(err)
		}
		code, err := info.Instructions()
		if err != nil {
			t.Fatal(err)
		}
		calls := 0
		for _, instruction := range code {
			if instruction.IsKfuncCall() {
				calls++
			}
		}
		if hasKfuncs != (calls >= 2) || !hasKfuncs && calls > 0 {
			t.Errorf("%s calls %d kfuncs; the kernel has them: %t", name, calls, hasKfuncs)
		}
	}
}

// The arguments of the idle tasks' processes take long to read. A task that the scheduler prefers comes to a program that
// an idle task has not left. Linux 7.0 and later misses a run then.
func TestMissed_ExecStorm_ResyncWithinASecond(t *testing.T) {
	s := newScene(t, nil)
	lost := make(chan time.Time, 1)
	go func() {
		for {
			e, err := s.Next()
			if err != nil {
				return
			}
			if e.Kind == selector.EventLost {
				select {
				case lost <- time.Now():
				default:
				}
			}
		}
	}()
	arguments := append([]string{s.name}, slices.Repeat([]string{long(4000)}, 60)...)
	for range 4 {
		s.storm(unix.SCHED_IDLE, arguments)
		s.storm(unix.SCHED_NORMAL, []string{"true"})
	}
	length := 2 * time.Second
	if s.IsPreemptible() {
		length = patience
	}
	missed := s.awaitMiss(length)
	if missed != s.IsPreemptible() {
		t.Fatalf("runs were missed: %t; the kernel preempts the programs: %t", missed, s.IsPreemptible())
	}
	if !missed {
		return
	}
	begin := time.Now()
	select {
	case at := <-lost:
		t.Logf("%d runs were missed; the loss was reported %s later", s.stats().Missed, at.Sub(begin).Round(time.Millisecond))
		if at.Sub(begin) > time.Second {
			t.Error("that is more than a second")
		}
	case <-s.within().Done():
		t.Fatal("the loss was not reported")
	}
	before := s.stats().Resyncs
	server := s.spawn(s.name, "mcp").pid()
	if held := s.held(); !slices.Contains(held, server) || s.stats().Resyncs == before {
		t.Errorf("%d is not among %v, or no scan ran: %+v", server, held, s.stats())
	}
}

// storm starts one process after the other until the test ends.
func (s *scene) storm(policy uint32, arguments []string) {
	var running sync.WaitGroup
	running.Go(func() {
		runtime.LockOSThread() // without an unlock, so that the thread ends with this goroutine
		if err := unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: policy}, 0); err != nil {
			s.t.Error(err)
		}
		for s.t.Context().Err() == nil {
			if err := (&exec.Cmd{Path: "/bin/true", Args: arguments}).Run(); err != nil {
				s.t.Error(err)
				return
			}
		}
	})
	s.t.Cleanup(running.Wait)
}

// awaitMiss reports whether the kernel misses a run of a program within the time.
func (s *scene) awaitMiss(length time.Duration) bool {
	s.t.Helper()
	for begin := time.Now(); time.Since(begin) < length; time.Sleep(10 * time.Millisecond) {
		if s.stats().Missed > 0 {
			return true
		}
	}
	return false
}
