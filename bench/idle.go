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

	"ebpf-upgrader/test/poll"
	"ebpf-upgrader/test/ragrat/agents"
)

const (
	// window is how long the idle service is observed at a time. windows is the number of observations.
	window  = time.Minute
	windows = 3
	// sampleInterval is the time between two readings of the counters of its threads.
	sampleInterval = 50 * time.Millisecond
	// sleepTime is how long the service is asleep between two wake-ups.
	sleepTime = 200 * time.Millisecond
	// auditEvery is the time between the audits of an install (install.usualPace). The service does not count them.
	// They are identified by the time since its start.
	auditEvery = 30 * time.Second
	// nearAudit is how far a wake-up may be from the time of an audit to count as one.
	nearAudit = time.Second
)

// The names of the figures that goals and documents refer to.
const (
	idleMoments = "service with 1,000 servers, idle: moments in which it ran, without those at an audit's time"
	resident    = "service with 1,000 servers, resident"
	idleShare   = "service with 1,000 servers, idle"
	perMinute   = "in a minute, on the average"
	ofFiles     = "service with 1,000 servers, resident: of that files, its own text above all"
)

// idle measures what the service does while nothing happens.
func idle(ctx context.Context, o options) ([]Measure, error) {
	d, err := serveAtRest(ctx)
	if err != nil {
		return nil, err
	}
	defer d.stop()
	var shares, switches, moments, withoutAudits []float64
	for range min(windows, o.rounds) {
		w, err := watchIdle(ctx, d.PID())
		if err != nil {
			return nil, err
		}
		shares, switches = append(shares, w.share), append(switches, w.switches)
		moments, withoutAudits = append(moments, float64(len(w.moments))), append(withoutAudits, float64(w.withoutAudits(d.started)))
	}
	rss, err := memory(d.PID(), "VmRSS:")
	if err != nil {
		return nil, err
	}
	files, err := memory(d.PID(), "RssFile:")
	if err != nil {
		return nil, err
	}
	return []Measure{
		amount(idleShare, "% of a core", shares...),
		amount(idleMoments, perMinute, average(withoutAudits)).of(len(withoutAudits)),
		amount("service with 1,000 servers, idle: moments in which it ran", "in a minute", moments...),
		amount("service with 1,000 servers, idle: how often its threads gave up a core", "in a minute", switches...),
		amount(resident, "MiB", rss),
		amount(ofFiles, "MiB", files),
	}, nil
}

// average is used instead of the median, which would hide what happens in one minute of several.
func average(figures []float64) (mean float64) {
	for _, f := range figures {
		mean += f / float64(len(figures))
	}
	return mean
}

// watched is what was observed in a window.
type watched struct {
	// share is the used share of a core, in percent. switches counts the context switches of all threads.
	share, switches float64
	// moments are the times of the wake-ups.
	moments []time.Time
}

// watchIdle reads counters of the kernel, which does not wake the service: a thread that ran has given up its core
// since the last reading.
func watchIdle(ctx context.Context, pid int) (w watched, err error) {
	first, err := switched(pid)
	if err != nil {
		return w, err
	}
	used, err := agents.ProcessorTime(pid)
	if err != nil {
		return w, err
	}
	begin, last, ran := time.Now(), first, time.Time{}
	for now := begin; now.Sub(begin) < window; now = time.Now() {
		if err := poll.Sleep(ctx, sampleInterval); err != nil {
			return w, err
		}
		n, err := switched(pid)
		if err != nil {
			return w, err
		}
		if n != last {
			now = time.Now()
			if now.Sub(ran) > sleepTime {
				w.moments = append(w.moments, now)
			}
			last, ran = n, now
		}
	}
	after, err := agents.ProcessorTime(pid)
	w.share = 100 * (after - used).Seconds() / time.Since(begin).Seconds()
	w.switches = float64(last - first)
	return w, err
}

// withoutAudits counts the wake-ups at which no audit was due. The audits follow from the time of the start.
func (w watched) withoutAudits(started time.Time) (n int) {
	for _, moment := range w.moments {
		since := moment.Sub(started) % auditEvery
		if since > nearAudit && since < auditEvery-nearAudit {
			n++
		}
	}
	return n
}

// switched returns how often the threads of a process have given up their cores, voluntarily or not.
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

// memory returns a line of /proc/PID/status in MiB.
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
