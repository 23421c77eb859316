// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"ebpf-upgrader/fallback"
	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/procfs"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/poll"
	"ebpf-upgrader/test/testfleet"
	"ebpf-upgrader/tracker"
)

const (
	// largeHost is the number of processes of the large host, by default. The other host is a fifth of it in all numbers.
	largeHost = 100_000
	fifth     = 5
	// perServer, perInstall and perUser are how many processes there are for each.
	perServer, perInstall, perUser = 20, 333, 500
	// scaleRounds limits the rounds. Each starts a service, and takes a minute of idleness.
	scaleRounds = 3
)

// perProcess is the memory of a process of the large host in KiB, most of it the kernel's. otherThreads is room for what runs
// beside it.
const perProcess, otherThreads = 105, 10_000

// fits reports why a host of n processes does not fit beside what runs. The texts are those of /proc/meminfo and of
// /proc/sys/kernel/threads-max.
func fits(n int, meminfo, threads string) error {
	_, available, _ := strings.Cut(meminfo, "MemAvailable:")
	var kib, most int
	if _, err := fmt.Sscan(available, &kib); err != nil {
		return fmt.Errorf("MemAvailable in /proc/meminfo: %w", err)
	}
	if _, err := fmt.Sscan(threads, &most); err != nil {
		return fmt.Errorf("kernel.threads-max: %w", err)
	}
	switch {
	case kib < n*perProcess:
		return fmt.Errorf("%d processes need %d MiB of memory, and %d MiB are available: use a smaller LARGE=", n, n*perProcess>>10, kib>>10)
	case most < n+otherThreads:
		return fmt.Errorf("%d processes need kernel.threads-max of %d, and it is %d: raise it, or use a smaller LARGE=", n, n+otherThreads, most)
	}
	return nil
}

// scales measures a large host beside one of a fifth: servers of many users in many installs.
func scales(ctx context.Context, o options) (all []Measure, err error) {
	meminfo, unread := os.ReadFile("/proc/meminfo")
	threads, failed := os.ReadFile("/proc/sys/kernel/threads-max")
	if err := cmp.Or(unread, failed); err != nil {
		return nil, err
	}
	if err := fits(o.large, string(meminfo), string(threads)); err != nil {
		return nil, err
	}
	for _, n := range []int{o.large / fifth, o.large} {
		measures, err := scaleOf(ctx, o, n)
		if err != nil {
			return nil, fmt.Errorf("%d processes: %w", n, err)
		}
		for _, m := range measures {
			m.Processes, m.Servers = n, n/perServer
			fmt.Printf("scale %6d  %-50s %12.4f %s\n", n, m.Name, m.Value, m.Unit)
			all = append(all, m)
		}
	}
	return all, nil
}

// largeScene has idle processes, and servers of many users in many installs.
type largeScene struct {
	scene
	installs []string
	servers  int
}

func newLargeScene(n int) (s *largeScene, err error) {
	s = &largeScene{servers: n / perServer}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.dir, err = os.MkdirTemp("", "bench-"); err != nil {
		return s, err
	}
	if err := os.Chmod(s.dir, 0o755); err != nil {
		return s, err
	}
	for i := range max(1, n/perInstall) {
		dir := filepath.Join(s.dir, fmt.Sprint(i))
		s.installs = append(s.installs, filepath.Join(dir, serverName))
		if err := cmp.Or(os.Mkdir(dir, 0o755), testfleet.WriteUpgrading(s.installs[i])); err != nil {
			return s, err
		}
	}
	idle, err := testfleet.StartCrowd(n-s.servers, testfleet.CrowdOptions{Dir: s.dir, Every: n + 1})
	if err != nil {
		return s, err
	}
	s.crowds = append(s.crowds, idle)
	users := max(1, n/perUser)
	servers, err := testfleet.StartCrowd(s.servers, testfleet.CrowdOptions{
		Upgrades: true, Argv0: serverName,
		Each: func(i int) (string, *testfleet.Credential) {
			install := i % len(s.installs)
			id := uint32(10_000 + install%users)
			return s.installs[install], &testfleet.Credential{UID: id, GID: id}
		},
	})
	if err == nil {
		s.crowds = append(s.crowds, servers)
	}
	return s, err
}

// written writes the program of each install again, next to it. The renames install them.
func (s *largeScene) written() (rename func() error, err error) {
	for _, path := range s.installs {
		content, err := os.ReadFile(path)
		if err == nil {
			err = testfleet.WriteProgram(path+".new", content)
		}
		if err != nil {
			return nil, err
		}
	}
	return func() (err error) {
		for _, path := range s.installs {
			err = errors.Join(err, os.Rename(path+".new", path))
		}
		return err
	}, nil
}

func scaleOf(ctx context.Context, o options, n int) ([]Measure, error) {
	s, err := newLargeScene(n)
	if err != nil {
		return nil, err
	}
	defer s.close()
	all, err := s.finding(ctx, o.rounds)
	if err != nil {
		return nil, err
	}
	var ready, signals, execs []time.Duration
	var shares, rss []float64
	for range min(o.rounds, scaleRounds) {
		round, err := s.round(ctx)
		if err != nil {
			return nil, err
		}
		ready, signals, execs = append(ready, round.ready), append(signals, round.lastSignal), append(execs, round.lastExec)
		shares, rss = append(shares, round.share), append(rss, round.rss)
	}
	return append(
		all, inMillis("start until all servers are known", ready), inMillis("last signal of a rollout of all", signals),
		inMillis("last exec of a rollout of all", execs), amount("idle service", "% of a core", shares...),
		amount("resident after the rollout and a minute", "MiB", rss...),
	), nil
}

// inMillis makes a measure of times with their median as the value.
func inMillis(name string, times []time.Duration) Measure {
	m := took(name, times)
	m.Value, m.Unit = m.Millis, "ms"
	return m
}

// finding measures the tracker's candidates, and the scan that is the work of an audit.
func (s *largeScene) finding(ctx context.Context, rounds int) ([]Measure, error) {
	facts, err := procfs.NewFS("/proc")
	if err != nil {
		return nil, err
	}
	defer func() { _ = facts.Close() }()
	scanner := fallback.New(facts, pattern)
	t, err := tracker.Open(ctx, tracker.Config{Pattern: pattern, Seed: scanner.Candidates, Signal: syscall.SIGUSR1})
	if err != nil {
		return nil, err
	}
	defer func() { _ = t.Close() }()
	candidates := func(name string, calls int, list func(context.Context) ([]selector.PID, error)) candidate {
		return candidate{name: name, calls: calls, do: func() error {
			pids, err := list(ctx)
			return cmp.Or(err, checkFound(min(len(pids), s.servers), s.servers))
		}}
	}
	all, err := sideBySide(ctx, rounds, []candidate{
		candidates("audit: a scan of all processes", 1, scanner.Candidates),
		candidates("find: the candidates of the tracker", 20, t.Candidates),
	})
	for i := range all {
		all[i].Value, all[i].Unit, all[i].Times = all[i].Millis, "ms", 0
	}
	return all, err
}

// scaleRound is what one run of the service gave.
type scaleRound struct {
	ready, lastSignal, lastExec time.Duration
	share, rss                  float64
}

// round starts the service, rolls a new file out in all installs, and observes the service at rest.
func (s *largeScene) round(ctx context.Context) (r scaleRound, err error) {
	begin := time.Now()
	d, err := serve(ctx, "--source", "bpf", "--settle", "1ms", "--hold", "1ms", "--canary", "0")
	if err != nil {
		return r, err
	}
	defer d.stop()
	err = d.until(ctx, "found all servers and installs", func(status api.Status) bool {
		known := 0
		for _, i := range status.Installs {
			if i.State == selector.StateReady {
				known += i.Servers
			}
		}
		return known == s.servers
	})
	if err != nil {
		return r, err
	}
	r.ready = time.Since(begin)
	if err := d.until(ctx, "upgraded all servers", s.isUpgraded); err != nil {
		return r, err
	}
	rename, err := s.written()
	if err != nil {
		return r, err
	}
	if r.lastSignal, r.lastExec, err = d.follow(ctx, s.servers, rename); err != nil {
		return r, err
	}
	if err := errors.Join(d.until(ctx, "upgraded all servers", s.isUpgraded), poll.Sleep(ctx, untilRest)); err != nil {
		return r, err
	}
	idle, err := watchIdle(ctx, d.PID())
	if err != nil {
		return r, err
	}
	r.share = idle.share
	r.rss, err = memory(d.PID(), "VmRSS:")
	return r, err
}

// isUpgraded reports whether every server runs the installed file.
func (s *largeScene) isUpgraded(status api.Status) bool {
	return status.Verdicts[selector.UpToDate] == s.servers
}

// scale is the table of the large host beside the other.
func (r *results) scale() string {
	measures := r.Sections["scale"].Measures
	if len(measures) == 0 {
		return ""
	}
	small, large := measures[0].Processes, measures[len(measures)-1].Processes
	var b strings.Builder
	fmt.Fprintf(&b, "| | %d processes | %d processes | times | |\n|---|---|---|---|---|\n", small, large)
	for _, m := range measures {
		at := slices.IndexFunc(measures, func(o Measure) bool { return o.Name == m.Name && o.Processes == large })
		if m.Processes != small || at < 0 {
			continue
		}
		fmt.Fprintf(&b, "| %s | %.4g | %.4g | %.3g | %s |\n", m.Name, m.Value, measures[at].Value, measures[at].Value/max(m.Value, 1e-9), m.Unit)
	}
	return b.String()
}
