// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"ebpf-upgrader/test/ragrat/agents"
)

// usage is a reading of what has been used. All times but the moment of the reading are processor time.
type usage struct {
	at time.Time
	// idle is the time during which the processors were idle.
	idle time.Duration
	// storm is the time of this program and of its children that have ended: the programs of the storm.
	storm time.Duration
	// observer is the time of the process that observes the storm. programs is the time of the BPF programs that it
	// loaded, which run in the processes of the storm.
	observer, programs time.Duration
	// runs counts the runs of these programs.
	runs uint64
}

// usage reads the counters. The processes should be at rest: the kernel adds the time of a running process only now
// and then.
func (o *observer) usage() (u usage, err error) {
	if u.idle, err = idleTime(); err != nil {
		return u, err
	}
	u.at = time.Now()
	for _, whose := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var used unix.Rusage
		if err := unix.Getrusage(whose, &used); err != nil {
			return u, fmt.Errorf("read processor time: %w", err)
		}
		u.storm += time.Duration(used.Utime.Nano() + used.Stime.Nano())
	}
	if o.pid == 0 {
		return u, nil
	}
	if u.observer, err = agents.ProcessorTime(o.pid); err != nil {
		return u, err
	}
	for _, p := range o.programs {
		stats, err := p.Stats()
		if err != nil {
			return u, fmt.Errorf("read run time of %s: %w", p, err)
		}
		u.programs += stats.Runtime
		u.runs += stats.RunCount
	}
	return u, nil
}

// programsOf returns the BPF programs that a process has open.
func programsOf(pid int) (all []*ebpf.Program, err error) {
	infos, err := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
	held := make(map[ebpf.ProgramID]bool)
	for _, path := range infos {
		info, err := os.ReadFile(path)
		if err != nil { // closed since
			continue
		}
		for line := range strings.Lines(string(info)) {
			if number, found := strings.CutPrefix(line, "prog_id:"); found {
				id, err := strconv.Atoi(strings.TrimSpace(number))
				if err != nil {
					return all, err
				}
				held[ebpf.ProgramID(id)] = true
			}
		}
	}
	for id := range held {
		p, err := ebpf.NewProgramFromID(id)
		if err != nil {
			return all, fmt.Errorf("open program %d of %d: %w", id, pid, err)
		}
		all = append(all, p)
	}
	return all, err
}

// idleTime returns the idle time of all processors together, in steps of 10 ms.
func idleTime() (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	fields := strings.Fields(line)
	const idle, waiting, tick = 4, 5, 10 * time.Millisecond // proc(5), USER_HZ of include/asm-generic/param.h
	var total time.Duration
	for _, i := range []int{idle, waiting} {
		ticks, err := strconv.Atoi(fields[i])
		if err != nil {
			return 0, fmt.Errorf("read /proc/stat: %w", err)
		}
		total += time.Duration(ticks) * tick
	}
	return total, nil
}

func cpus() float64 { return float64(runtime.NumCPU()) }

// stormCost is what one storm cost.
type stormCost struct {
	// rate is in programs per second. programs is their number.
	rate     float64
	programs int
	// host is the busy share of the host's processors, in percent.
	host float64
	// each is the processor time of the storm and the observer for each program, in microseconds.
	each float64
	// counted is the observer's share of the host's processors by the kernel's counters. inKernel is the part of its
	// BPF programs. Both are in percent.
	counted, inKernel float64
	runs              uint64
	// reported is the share of the programs that the observer reported, in percent. resident is its memory in MiB.
	reported, resident float64
}

// since returns the cost of a storm of so many programs between two readings.
func (a usage) since(b usage, programs int) stormCost {
	wall := a.at.Sub(b.at)
	all := wall.Seconds() * cpus()
	share := func(t time.Duration) float64 { return 100 * t.Seconds() / all }
	observer, inKernel := a.observer-b.observer, a.programs-b.programs
	return stormCost{
		rate: float64(programs) / wall.Seconds(), programs: programs,
		host:     100 - share(a.idle-b.idle),
		each:     float64(a.storm-b.storm+observer) / float64(time.Microsecond) / float64(programs),
		counted:  share(observer + inKernel),
		inKernel: share(inKernel), runs: a.runs - b.runs,
	}
}
