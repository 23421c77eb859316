// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/upgrade"
)

// costs measures what the service costs the host.
func costs(ctx context.Context, o options) ([]Measure, error) {
	all, err := perEvent(ctx)
	if err != nil {
		return nil, err
	}
	s, err := newScene(1, min(1000, o.most))
	if err != nil {
		return nil, err
	}
	defer s.close()
	d, err := serve(ctx, "--source", "bpf", "--hold", "1ms")
	if err != nil {
		return nil, err
	}
	defer d.stop()
	if err := d.until(ctx, "upgraded them at its start", func(s upgrade.Status) bool {
		return s.Verdicts != nil && len(s.Rollouts) == 1 && s.Rollouts[0].Phase == upgrade.PhaseComplete
	}); err != nil {
		return nil, err
	}
	time.Sleep(20 * time.Second) // the look at everybody that follows its start, and the memory that it gives back then
	woken, err := switches(d.cmd.Process.Pid)
	if err != nil {
		return nil, err
	}
	idle, err := during(ctx, d.cmd.Process.Pid, window, nil)
	if err != nil {
		return nil, err
	}
	wokenBy, err := switches(d.cmd.Process.Pid)
	if err != nil {
		return nil, err
	}
	resident, err := residentMiB(d.cmd.Process.Pid)
	if err != nil {
		return nil, err
	}
	all = append(all,
		Measure{Name: "service with 1,000 servers, idle", Servers: 1000, Rounds: 1, Value: idle, Unit: "% of a core"},
		Measure{Name: wakeUps, Servers: 1000, Rounds: 1, Value: float64(wokenBy - woken), Unit: "in a minute"},
		Measure{Name: "service with 1,000 servers, resident", Servers: 1000, Rounds: 1, Value: resident, Unit: "MiB"})
	storms, err := inStorm(ctx, d)
	if err != nil {
		return nil, err
	}
	without, err := besideNobody(ctx, d)
	if err != nil {
		return nil, err
	}
	all = append(all, append(storms, without)...)
	for _, m := range all {
		fmt.Printf("cost %-44s %10.3f %s\n", m.Name, m.Value, m.Unit)
	}
	return all, nil
}

// window is how long the service is watched while nothing happens, and storm while much does.
const (
	window = 60 * time.Second
	storm  = 20 * time.Second
	// stormRounds is how many storms the host's CPU is watched in.
	stormRounds = 3
	// stormRate is how many programs are started in a second, as by a compiler.
	stormRate = 2000
)

// perEvent is what the kernel's own accounts say, against an empty program on the same hook in the same
// run.
func perEvent(ctx context.Context) ([]Measure, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "Programs", "-benchtime", "2000x", "./tracker")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%v: %w\n%s", cmd.Args, err, out)
	}
	var all []Measure
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		name, found := strings.CutPrefix(lines.Text(), "BenchmarkPrograms/")
		if !found {
			continue
		}
		fields := strings.Fields(name)
		title := strings.TrimSuffix(fields[0], "-"+lastPart(fields[0]))
		for i := 2; i+1 < len(fields); i += 2 {
			value, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return nil, err
			}
			unit := map[string]string{"ns/run": "ns", "ns/empty": "ns, an empty program", "x-empty": "times an empty program"}[fields[i+1]]
			if unit != "" {
				all = append(all, Measure{Name: title, Rounds: 2000, Value: value, Unit: unit})
			}
		}
	}
	return all, nil
}

// lastPart is the number of processors that go test puts behind a name.
func lastPart(name string) string { return name[strings.LastIndexByte(name, '-')+1:] }

// inStorm is what the service uses, and others that see every exec.
func inStorm(ctx context.Context, d *daemon) ([]Measure, error) {
	var all []Measure
	var host float64
	used, err := during(ctx, d.cmd.Process.Pid, storm, func(ctx context.Context, _ time.Duration) (err error) {
		host, err = hostInStorms(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	resident, err := residentMiB(d.cmd.Process.Pid)
	if err != nil {
		return nil, err
	}
	all = append(all,
		Measure{Name: "storm", Rounds: 1, Value: float64(started.Load()) / storm.Seconds(), Unit: "programs started a second"},
		Measure{Name: "service in the storm", Rounds: 1, Value: used, Unit: "% of a core"},
		Measure{Name: "service in the storm, resident", Rounds: 1, Value: resident, Unit: "MiB"},
		Measure{Name: "host in the storm, with the service", Rounds: stormRounds, Value: host, Unit: "% of its CPU"})
	for _, args := range [][]string{{"forkstat", "-e", "exec"}, {"execsnoop.bt"}} {
		if _, err := exec.LookPath(args[0]); err != nil {
			fmt.Fprintf(os.Stderr, "bench: %s is missing, and is left out\n", args[0])
			continue
		}
		used, err := beside(ctx, args)
		if err != nil {
			return nil, err
		}
		all = append(all, Measure{Name: args[0] + " in the storm", Rounds: 1, Value: used, Unit: "% of a core"})
	}
	return all, nil
}

// besideNobody ends the service, and is what the host uses without it.
func besideNobody(ctx context.Context, d *daemon) (Measure, error) {
	d.stop()
	host, err := hostInStorms(ctx)
	return Measure{Name: "host in the storm, without the service", Rounds: stormRounds, Value: host, Unit: "% of its CPU"}, err
}

// hostInStorms is what the host uses of its CPU in a storm, the programs included: the median of some.
func hostInStorms(ctx context.Context) (float64, error) {
	var shares []float64
	for range stormRounds {
		busy, total, err := hostTime()
		if err != nil {
			return 0, err
		}
		if err := execs(ctx, storm); err != nil {
			return 0, err
		}
		busyAfter, totalAfter, err := hostTime()
		if err != nil {
			return 0, err
		}
		shares = append(shares, 100*(busyAfter-busy)/(totalAfter-total))
	}
	slices.Sort(shares)
	return shares[len(shares)/2], nil
}

// hostTime is the time that the processors worked, and all of it, in ticks.
func hostTime() (busy, total float64, err error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	const idle, waiting, steal = 3, 4, 7 // proc(5); what comes after is counted in the first
	for i, field := range strings.Fields(line)[1:] {
		ticks, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return 0, 0, err
		}
		if i > steal {
			break
		}
		total += ticks
		if i != idle && i != waiting {
			busy += ticks
		}
	}
	return busy, total, nil
}

func beside(ctx context.Context, args []string) (float64, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	time.Sleep(3 * time.Second) // until it has come up
	return during(ctx, cmd.Process.Pid, storm, execs)
}

// during is what a process uses of a core while something is done for so long.
func during(ctx context.Context, pid int, long time.Duration, do func(context.Context, time.Duration) error) (float64, error) {
	before, err := processorTime(pid)
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	if do == nil {
		time.Sleep(long)
	} else if err := do(ctx, long); err != nil {
		return 0, err
	}
	after, err := processorTime(pid)
	return 100 * (after - before).Seconds() / time.Since(begin).Seconds(), err
}

// started counts what the storm at hand has started.
var started atomic.Int64

// execs starts programs at the rate of a compiler, as far as the machine can: two from each of its cores at a
// time.
func execs(ctx context.Context, long time.Duration) error {
	started.Store(0)
	ctx, stop := context.WithTimeout(ctx, long)
	defer stop()
	workers := 2 * runtime.NumCPU()
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() { errs[w] = compile(ctx, time.Second*time.Duration(workers)/stormRate) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// compile starts a program at each tick, and waits for it.
func compile(ctx context.Context, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		process, err := os.StartProcess("/bin/true", []string{"/usr/bin/cc", "-c", "a-file.c", "-o", "a-file.o"}, &os.ProcAttr{})
		if err != nil {
			return err
		}
		if _, err := process.Wait(); err != nil {
			return err
		}
		started.Add(1)
	}
}

// switches is how often the threads of a process gave up their core to wait.
func switches(pid int) (n int, err error) {
	statuses, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	for _, path := range statuses {
		status, err := os.ReadFile(path)
		if err != nil {
			return 0, err
		}
		_, rest, _ := strings.Cut(string(status), "\nvoluntary_ctxt_switches:")
		line, _, _ := strings.Cut(rest, "\n")
		times, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			return 0, err
		}
		n += times
	}
	return n, err
}

func processorTime(pid int) (time.Duration, error) {
	const cpuclockSched = 2 // include/linux/posix-timers.h
	var used unix.Timespec
	err := unix.ClockGettime(int32(^pid<<3|cpuclockSched), &used)
	return time.Duration(used.Nano()), err
}

func residentMiB(pid int) (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if kib, found := strings.CutPrefix(line, "VmRSS:"); found {
			n, err := strconv.Atoi(strings.Fields(kib)[0])
			return float64(n) / 1024, err
		}
	}
	return 0, errors.New("no resident size")
}
