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

	"ebpf-upgrader/tracker"
)

// BenchmarkPrograms measures what the programs cost processes that are no servers, by the kernel's own counters: the
// nanoseconds of a run, and their ratio to those of an empty program on the same tracepoint (x-empty). ns/op is the
// time of the whole process or signal.
func BenchmarkPrograms(b *testing.B) {
	spawn := func(argv ...string) error { return (&exec.Cmd{Path: "/bin/true", Args: argv}).Run() }
	for _, length := range []int{5, 50, 2000} {
		b.Run(fmt.Sprintf("exec/%d-bytes", length), func(b *testing.B) {
			measure(b, "sched_process_exec", func() error { return spawn(arguments(length)...) })
		})
	}
	b.Run("exec/2000-bytes-of-argv0", func(b *testing.B) { // it is read to its end
		measure(b, "sched_process_exec", func() error { return spawn(long(2000), "-c") })
	})
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

// BenchmarkGate measures what the gate costs a signal between processes that are no servers: the nanoseconds of a run,
// those of an empty program at the same hook, and the number of runs per signal. SIGCHLD comes from the kernel and
// causes no run; the runs counted beside it are of the Go runtime's own signals.
func BenchmarkGate(b *testing.B) {
	for _, c := range []struct {
		name string
		act  func(*process) error
	}{
		{"kill-0", func(p *process) error { return p.Process.Signal(syscall.Signal(0)) }},
		{"SIGTERM", func(p *process) error { return p.Process.Signal(syscall.SIGTERM) }},
		{"SIGUSR1", func(p *process) error { return p.Process.Signal(syscall.SIGUSR1) }},
		{"SIGCHLD", func(*process) error { return exec.Command("/bin/true").Run() }},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := newScene(b, func(_ *scene, c *tracker.Config) { c.Signal = syscall.SIGUSR1 })
			g, err := s.EnableGateAt("fmod_ret")
			if err != nil {
				b.Skip("the kernel refuses a gate at fmod_ret")
			}
			stranger := s.spawn("sh", "no", "server")
			stranger.run(b, `trap "" TERM; echo ready; read -r line`)
			if _, err := stranger.stdout.ReadString('\n'); err != nil {
				b.Fatal(err)
			}
			measureGate(b, g, func() error { return c.act(stranger) })
		})
	}
}

// measureGate attaches an empty program, which runs after the gate.
func measureGate(b *testing.B, g *tracker.Gate, act func() error) {
	b.Helper()
	empty, detach := attachEmptyTo(b, ebpf.AttachModifyReturn, "security_task_kill")
	defer detach()
	stop, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = stop.Close() }()
	gateBefore, emptyBefore := runs(b, g.Program()), runs(b, empty)
	for b.Loop() {
		if err := act(); err != nil {
			b.Fatal(err)
		}
	}
	var gate, none runTime
	gate.add(runs(b, g.Program()), gateBefore)
	none.add(runs(b, empty), emptyBefore)
	b.ReportMetric(gate.each(), "ns/run")
	b.ReportMetric(none.each(), "ns/empty")
	b.ReportMetric(float64(gate.count)/float64(b.N), "runs/op")
}

// arguments returns arguments of the given length in bytes, NULs included: the path of a compiler and a source file, or
// a short name alone. The program does not read arguments that are shorter than a server's.
func arguments(length int) []string {
	const compiler = "/usr/bin/cc"
	if length <= len(compiler) {
		return []string{long(length - 1)}
	}
	return []string{compiler, long(length - len(compiler) - 2)}
}

// measure runs both programs on the same events, so that disturbances affect both. The program that was attached first
// runs first (tracepoint_add_func of kernel/tracepoint.c, Linux 6.12) and warms the caches for the other. Each is the
// first for half of the events.
func measure(b *testing.B, tracepoint string, act func() error) {
	b.Helper()
	stop, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = stop.Close() }()
	var full, empty runTime
	b.ResetTimer()
	for _, attach := range []func(*testing.B, string) pair{attachEmptyLast, attachEmptyFirst} {
		b.StopTimer()
		p := attach(b, tracepoint)
		fullBefore, emptyBefore := runs(b, p.full), runs(b, p.empty)
		b.StartTimer()
		for range (b.N + 1) / 2 {
			if err := act(); err != nil {
				b.Fatal(err)
			}
		}
		b.StopTimer()
		full.add(runs(b, p.full), fullBefore)
		empty.add(runs(b, p.empty), emptyBefore)
		p.detach()
	}
	b.ReportMetric(full.each(), "ns/run")
	b.ReportMetric(empty.each(), "ns/empty")
	b.ReportMetric(full.each()/empty.each(), "x-empty")
}

// pair is the tracker's program and an empty one on the same tracepoint.
type pair struct {
	full, empty *ebpf.Program
	detach      func()
}

func attachEmptyLast(b *testing.B, tracepoint string) pair {
	s := newWatch(b)
	empty, detach := attachEmpty(b, tracepoint)
	return pair{s.Programs()[tracepoint], empty, func() { detach(); _ = s.Close() }}
}

func attachEmptyFirst(b *testing.B, tracepoint string) pair {
	empty, detach := attachEmpty(b, tracepoint)
	s := newWatch(b)
	return pair{s.Programs()[tracepoint], empty, func() { detach(); _ = s.Close() }}
}

// attachEmpty attaches a program that does nothing.
func attachEmpty(b *testing.B, tracepoint string) (program *ebpf.Program, detach func()) {
	b.Helper()
	return attachEmptyTo(b, ebpf.AttachTraceRawTp, tracepoint)
}

func attachEmptyTo(b *testing.B, kind ebpf.AttachType, place string) (program *ebpf.Program, detach func()) {
	b.Helper()
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "empty", Type: ebpf.Tracing, AttachType: kind, AttachTo: place,
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = program.Close() })
	attached, err := link.AttachTracing(link.TracingOptions{Program: program, AttachType: kind})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = attached.Close() })
	return program, func() { _ = attached.Close() }
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

// add adds the difference between two readings.
func (r *runTime) add(after, before runTime) {
	r.total += after.total - before.total
	r.count += after.count - before.count
}

// each is the mean time of a run in nanoseconds.
func (r *runTime) each() float64 { return float64(r.total) / float64(max(1, r.count)) }
