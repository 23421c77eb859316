// SPDX-License-Identifier: MIT

//go:build linux

package quiet_test

import (
	"os/exec"
	"syscall"
	"testing"
	"time"

	"ebpf-upgrader/internal/procfs"
	"ebpf-upgrader/internal/quiet"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// never reads real processes, and reports that each has read since the last sample.
type never struct {
	*procfs.FS
	reads uint64
}

func (n *never) Activity(pid selector.PID) (selector.Activity, error) {
	a, err := n.FS.Activity(pid)
	n.reads++
	a.Reads = n.reads
	return a, err
}

// BenchmarkThousandWait measures the share of a core that it takes to wait for a thousand processes. They belong to one user
// and one rollout, may be signalled, and are never idle.
func BenchmarkThousandWait(b *testing.B) {
	fs, err := procfs.NewFS("/proc")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = fs.Close() }()
	limits := rollout.DefaultLimits()
	limits.Canary, limits.QuietWithin = 0, time.Hour
	r := rollout.New(rollout.Config{Limits: limits}, 1, selector.Install{}, time.Now())
	for range 1000 {
		cmd := exec.Command("sleep", "infinity")
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		defer func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}()
		p := selector.Process{Identity: selector.Identity{PID: selector.PID(cmd.Process.Pid)}}
		r.Observe(p, selector.Decision{Verdict: selector.Outdated, Stale: true}, rollout.RankUsual, time.Now())
	}
	w := quiet.New(&never{FS: fs}, 100*time.Millisecond)
	for b.Loop() {
		start, used := time.Now(), processorTime(b)
		for time.Since(start) < 5*time.Second {
			ready, wake := r.Next(time.Now(), func(m *rollout.Member) rollout.Permission {
				if w.Judge(m.Identity(), selector.User{UID: m.UID}) == selector.IdleUnknown {
					return rollout.Unsure
				}
				return rollout.Busy
			})
			if len(ready) > 0 {
				b.Fatal("a process that is never idle may be signalled")
			}
			time.Sleep(time.Until(wake))
		}
		b.ReportMetric(100*(processorTime(b)-used).Seconds()/time.Since(start).Seconds(), "%core")
	}
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
