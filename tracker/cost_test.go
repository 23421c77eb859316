// SPDX-License-Identifier: MIT

//go:build linux

package tracker_test

import (
	"fmt"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// BenchmarkPrograms says what the programs cost processes that are no servers, as the kernel counts
// it: the nanoseconds of a run, and how many times those of an empty program on the same tracepoint
// (x-empty). ns/op is the time of the whole process or signal.
func BenchmarkPrograms(b *testing.B) {
	spawn := func(argv ...string) error { return (&exec.Cmd{Path: "/bin/true", Args: argv}).Run() }
	b.Run("exec/alone", func(b *testing.B) { // fewer bytes than name and argument of a server
		measure(b, "sched_process_exec", func() error { return spawn("true") })
	})
	for _, length := range []int{5, 50, 2000} { // of argv[0]; what follows is not looked at
		b.Run(fmt.Sprintf("exec/%d-bytes", length), func(b *testing.B) {
			measure(b, "sched_process_exec", func() error { return spawn(long(length), long(50)) })
		})
	}
	b.Run("fork", func(b *testing.B) {
		measure(b, "sched_process_fork", func() error { return spawn("true") })
	})
	b.Run("exit", func(b *testing.B) {
		measure(b, "sched_process_exit", func() error { return spawn("true") })
	})
	for _, sig := range []syscall.Signal{syscall.SIGCONT, syscall.SIGUSR1} {
		b.Run("signal/"+unix.SignalName(sig), func(b *testing.B) {
			stranger := newWatch(b).spawn("sh", "no", "server")
			measure(b, "signal_generate", func() error { return stranger.Process.Signal(sig) })
		})
	}
}

// measure has both programs run beside each other, so that whatever else happens hits both.
func measure(b *testing.B, tracepoint string, act func() error) {
	b.Helper()
	s := newWatch(b)
	full, empty := s.Programs()[tracepoint], attachEmpty(b, tracepoint)
	stop, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = stop.Close() }()
	fullBefore, emptyBefore := runs(b, full), runs(b, empty)
	for b.Loop() {
		if err := act(); err != nil {
			b.Fatal(err)
		}
	}
	cost, base := runs(b, full).since(fullBefore), runs(b, empty).since(emptyBefore)
	b.ReportMetric(cost, "ns/run")
	b.ReportMetric(base, "ns/empty")
	b.ReportMetric(cost/base, "x-empty")
}

// attachEmpty attaches a program that does nothing.
func attachEmpty(b *testing.B, tracepoint string) *ebpf.Program {
	b.Helper()
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "empty", Type: ebpf.Tracing, AttachType: ebpf.AttachTraceRawTp, AttachTo: tracepoint,
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = program.Close() })
	attached, err := link.AttachTracing(link.TracingOptions{Program: program})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = attached.Close() })
	return program
}

type runTime struct {
	total time.Duration
	count uint64
}

func runs(b *testing.B, program *ebpf.Program) runTime {
	b.Helper()
	stats, err := program.Stats()
	if err != nil {
		b.Fatal(err)
	}
	return runTime{stats.Runtime, stats.RunCount}
}

// since is the nanoseconds of a run since before.
func (r runTime) since(before runTime) float64 {
	if r.count == before.count {
		return 0
	}
	return float64(r.total-before.total) / float64(r.count-before.count)
}
