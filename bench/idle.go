// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// window is how long the service is watched while nothing happens, and windows how often.
	window  = time.Minute
	windows = 3
	// glance is the time between two looks at whether it ran.
	glance = 50 * time.Millisecond
	// still is how long it does not run between two moments.
	still = 200 * time.Millisecond
	// auditEvery is the time between looks at an install that nothing gave reason for (install.usualPace). The
	// service does not count them: they are told from others by the time since its start.
	auditEvery = 30 * time.Second
	// nearAudit is how far from an audit's time a moment may be that counts as one.
	nearAudit = time.Second
)

// The names of what is asked about.
const (
	idleMoments = "service with 1,000 servers, idle: moments in which it ran, without those at an audit's time"
	resident    = "service with 1,000 servers, resident"
	idleShare   = "service with 1,000 servers, idle"
	perMinute   = "in a minute, on the average"
	ofFiles     = "service with 1,000 servers, resident: of that files, its own text above all"
)

// idle is what the service does while nothing happens.
func idle(ctx context.Context, o options) ([]Measure, error) {
	d, err := serveAtRest(ctx)
	if err != nil {
		return nil, err
	}
	defer d.stop()
	var shares, switches, moments, unasked []float64
	for range min(windows, o.rounds) {
		w, err := watchIdle(ctx, d.pid())
		if err != nil {
			return nil, err
		}
		shares, switches = append(shares, w.share), append(switches, w.switches)
		moments, unasked = append(moments, float64(len(w.moments))), append(unasked, float64(w.withoutAudits(d.started)))
	}
	rss, err := memory(d.pid(), "VmRSS:")
	if err != nil {
		return nil, err
	}
	files, err := memory(d.pid(), "RssFile:")
	if err != nil {
		return nil, err
	}
	return []Measure{
		amount(idleShare, "% of a core", shares...),
		amount(idleMoments, perMinute, average(unasked)).of(len(unasked)),
		amount("service with 1,000 servers, idle: moments in which it ran", "in a minute", moments...),
		amount("service with 1,000 servers, idle: how often its threads gave up a core", "in a minute", switches...),
		amount(resident, "MiB", rss),
		amount(ofFiles, "MiB", files),
	}, nil
}

// average does not hide what happens in one minute of several, as a median would.
func average(figures []float64) (mean float64) {
	for _, f := range figures {
		mean += f / float64(len(figures))
	}
	return mean
}

// watched is what was seen in a window.
type watched struct {
	// share is what it used of a core, in percent.
	share, switches float64
	// moments are when it began to run after it had been still.
	moments []time.Time
}

// watchIdle looks on from outside, which does not wake the service: a thread that has run gave up its core
// since the last look.
func watchIdle(ctx context.Context, pid int) (w watched, err error) {
	first, err := switched(pid)
	if err != nil {
		return w, err
	}
	used, err := processorTime(pid)
	if err != nil {
		return w, err
	}
	begin, last, ran := time.Now(), first, time.Time{}
	for now := begin; now.Sub(begin) < window; now = time.Now() {
		if err := pause(ctx, glance); err != nil {
			return w, err
		}
		n, err := switched(pid)
		if err != nil {
			return w, err
		}
		if n != last {
			now = time.Now()
			if now.Sub(ran) > still {
				w.moments = append(w.moments, now)
			}
			last, ran = n, now
		}
	}
	after, err := processorTime(pid)
	w.share = 100 * (after - used).Seconds() / time.Since(begin).Seconds()
	w.switches = float64(last - first)
	return w, err
}

// withoutAudits counts the moments at which no audit was due of a service that started then.
func (w watched) withoutAudits(started time.Time) (n int) {
	for _, moment := range w.moments {
		since := moment.Sub(started) % auditEvery
		if since > nearAudit && since < auditEvery-nearAudit {
			n++
		}
	}
	return n
}

// switched is how often the threads of a process gave up their cores, to wait or because they had to.
func switched(pid int) (n int, err error) {
	statuses, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	for _, path := range statuses {
		status, err := os.ReadFile(path)
		if err != nil {
			return 0, err
		}
		for line := range strings.Lines(string(status)) {
			if name, times, _ := strings.Cut(line, ":"); strings.HasSuffix(name, "voluntary_ctxt_switches") {
				one, err := strconv.Atoi(strings.TrimSpace(times))
				if err != nil {
					return 0, err
				}
				n += one
			}
		}
	}
	if n == 0 {
		return 0, errors.Join(err, fmt.Errorf("read switches of %d: no threads", pid))
	}
	return n, err
}

func processorTime(pid int) (time.Duration, error) {
	const cpuclockSched = 2 // include/linux/posix-timers.h
	var used unix.Timespec
	err := unix.ClockGettime(int32(^pid<<3|cpuclockSched), &used)
	return time.Duration(used.Nano()), err
}

// memory is a line of /proc/PID/status, in MiB.
func memory(pid int, name string) (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if kib, found := strings.CutPrefix(line, name); found {
			n, err := strconv.Atoi(strings.Fields(kib)[0])
			return float64(n) / 1024, err
		}
	}
	return 0, fmt.Errorf("read memory of %d: no %s", pid, name)
}
