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
)

// account is what was used until a moment, all of it in processor time but for the moment itself.
type account struct {
	at time.Time
	// idle is the time that the processors did not work.
	idle time.Duration
	// storm is the time of this program and of all that it started and that has ended: those of the storm.
	storm time.Duration
	// observer is the time of the one process that sees the storm, and programs that of the BPF programs which
	// it loaded. They run in the processes of the storm.
	observer, programs time.Duration
	// runs is how often these programs ran.
	runs uint64
}

// accounts reads them, at rest: what runs has its time counted only as far as it has come.
func (o *observer) accounts() (a account, err error) {
	if a.idle, err = idleTime(); err != nil {
		return a, err
	}
	a.at = time.Now()
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var used unix.Rusage
		if err := unix.Getrusage(who, &used); err != nil {
			return a, fmt.Errorf("read processor time: %w", err)
		}
		a.storm += time.Duration(used.Utime.Nano() + used.Stime.Nano())
	}
	if o.pid == 0 {
		return a, nil
	}
	if a.observer, err = processorTime(o.pid); err != nil {
		return a, err
	}
	for _, p := range o.programs {
		stats, err := p.Stats()
		if err != nil {
			return a, fmt.Errorf("read run time of %s: %w", p, err)
		}
		a.programs += stats.Runtime
		a.runs += stats.RunCount
	}
	return a, nil
}

// programsOf are the BPF programs that a process holds.
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

// idleTime is how long all processors together did nothing, in steps of 10 ms.
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

// use is what one storm used.
type use struct {
	// rate is in programs a second, programs in all.
	rate     float64
	programs int
	// host is the share of the host's processors that worked, in percent.
	host float64
	// each is the processor time of the storm and the observer for each program, in microseconds.
	each float64
	// counted is the observer's share of the host's processors by the accounts, and inKernel that of its BPF
	// programs in it; in percent.
	counted, inKernel float64
	runs              uint64
	// seen is the share of the programs that the observer reported, in percent, and resident its memory in MiB.
	seen, resident float64
}

// since is what was used between two accounts, for so many programs.
func (a account) since(b account, programs int) use {
	wall := a.at.Sub(b.at)
	all := wall.Seconds() * cpus()
	share := func(t time.Duration) float64 { return 100 * t.Seconds() / all }
	observer, inKernel := a.observer-b.observer, a.programs-b.programs
	return use{
		rate: float64(programs) / wall.Seconds(), programs: programs,
		host:     100 - share(a.idle-b.idle),
		each:     float64(a.storm-b.storm+observer) / float64(time.Microsecond) / float64(programs),
		counted:  share(observer + inKernel),
		inKernel: share(inKernel), runs: a.runs - b.runs,
	}
}
