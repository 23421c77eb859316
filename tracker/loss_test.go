// SPDX-License-Identifier: MIT

//go:build linux

package tracker_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"ebpf-upgrader/selector"
	"ebpf-upgrader/tracker"
)

func TestLoss_FullMap_CountedNoneMissing(t *testing.T) {
	t.Parallel()
	s := newScene(t, func(_ *scene, c *tracker.Config) { c.MaxEntries = 4 })
	var want []selector.PID
	for range 8 {
		want = append(want, s.spawn(s.name, "mcp").pid())
	}
	for range 2 { // also in the second call after the loss
		got := s.held()
		for _, pid := range want {
			if !slices.Contains(got, pid) {
				t.Errorf("%d is not among %v", pid, got)
			}
		}
	}
	if stats := s.stats(); stats.LostMapFull == 0 || stats.Entries > stats.Capacity {
		t.Errorf("stats are %+v, want a loss counted", stats)
	}
	if stats := s.stats(); stats.Outside < 4 {
		t.Errorf("%d processes are outside of the map, want 4", stats.Outside)
	}
}

func TestLoss_FullMap_Reported(t *testing.T) {
	t.Parallel()
	s := newScene(t, func(_ *scene, c *tracker.Config) { c.MaxEntries = 1 })
	s.spawn(s.name, "mcp")
	s.spawn(s.name, "mcp")
	s.await(selector.EventLost, 0)
}

// Events are not read until the ring is full.
func TestLoss_FullRing_OneScan(t *testing.T) {
	t.Parallel()
	s := newScene(t, func(_ *scene, c *tracker.Config) { c.RingBytes = uint32(os.Getpagesize()) })
	stays := s.spawn(s.name, "mcp")
	for s.stats().LostRingFull == 0 {
		cmd := exec.Command("true")
		cmd.Args = []string{s.name, "mcp"}
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
	}
	before := s.stats().Resyncs
	for range 3 {
		if !s.holds(stays.pid()) {
			t.Errorf("%d is not held", stays.pid())
		}
	}
	if after := s.stats().Resyncs; after != before+1 {
		t.Errorf("%d scans after a loss, want one", after-before)
	}
	for {
		e, err := s.Next()
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == selector.EventLost {
			return
		}
	}
}

// A resync after a loss takes time, in which no event is read. So a loss is reported when the ring is empty, or else
// one resync would lead to the next.
func TestLoss_SlowReader_ReportedRarely(t *testing.T) {
	t.Parallel()
	s := newScene(t, func(_ *scene, c *tracker.Config) { c.RingBytes = uint32(os.Getpagesize()) })
	start := func() {
		cmd := exec.Command("true")
		cmd.Args = []string{s.name, "mcp"}
		if err := cmd.Run(); err != nil {
			t.Error(err)
		}
	}
	for s.stats().LostRingFull == 0 {
		start()
	}
	ctx, stop := context.WithCancel(t.Context())
	var busy sync.WaitGroup
	busy.Go(func() { // the host keeps starting processes
		for ctx.Err() == nil {
			start()
			pause(ctx, 50*time.Millisecond)
		}
	})
	defer busy.Wait()
	defer stop()
	reports := 0
	for after := 0; after < 200; {
		e, err := s.Next()
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case e.Kind == selector.EventLost:
			if reports++; reports > 3 {
				t.Fatalf("a loss was reported %d times", reports)
			}
			pause(ctx, 200*time.Millisecond)
		case reports > 0:
			after++
		}
	}
}

// pause stands for work that takes a known time.
func pause(ctx context.Context, length time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(length):
	}
}

func TestSeed_ServerBefore_Held(t *testing.T) {
	t.Parallel()
	var early *process
	s := newScene(t, func(s *scene, _ *tracker.Config) { early = s.spawn(s.name, "mcp") })
	if !s.holds(early.pid()) {
		t.Errorf("%d is not held", early.pid())
	}
}

// The scan is over before the server starts, so only programs that were attached earlier record it.
func TestSeed_ServerStartsMeanwhile_Held(t *testing.T) {
	t.Parallel()
	var between *process
	s := newScene(t, func(s *scene, c *tracker.Config) {
		c.Seed = func(ctx context.Context) ([]selector.PID, error) {
			pids, err := s.scan(ctx)
			between = s.spawn(s.name, "mcp")
			return pids, err
		}
	})
	if !s.holds(between.pid()) {
		t.Errorf("%d is not held", between.pid())
	}
}

// The exit event comes before the entry is inserted, whether or not the parent has reaped the process.
func TestSeed_ProcessEndsMeanwhile_NotHeld(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(s *scene, p *process){
		"reaped": func(_ *scene, p *process) { _ = p.Wait() },
		"a zombie": func(s *scene, p *process) {
			for !isZombie(p.pid()) && s.within().Err() == nil {
				continue
			}
			s.t.Cleanup(func() { _ = p.Wait() })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var p *process
			s := newScene(t, func(s *scene, c *tracker.Config) {
				c.Seed = func(ctx context.Context) ([]selector.PID, error) {
					p = s.spawn(s.name, "mcp")
					pids, err := s.scan(ctx)
					p.run(t, "exit")
					end(s, p)
					return pids, err
				}
			})
			if s.holds(p.pid()) {
				t.Errorf("%d is held after its exit", p.pid())
			}
		})
	}
}

func isZombie(pid selector.PID) bool {
	stat, _ := os.ReadFile("/proc/" + pid.String() + "/stat")
	return bytes.Contains(stat, []byte(") Z "))
}

func TestCandidates_ScanFails_NoList(t *testing.T) {
	t.Parallel()
	broken := errors.New("scan failed")
	fail := false
	s := newScene(t, func(s *scene, c *tracker.Config) {
		c.MaxEntries = 1
		c.Seed = func(ctx context.Context) ([]selector.PID, error) {
			if fail {
				return nil, broken
			}
			return s.scan(ctx)
		}
	})
	s.spawn(s.name, "mcp")
	s.spawn(s.name, "mcp")
	fail = true
	if pids, err := s.Candidates(t.Context()); !errors.Is(err, broken) || len(pids) != 0 {
		t.Errorf("Candidates = %v, %v, want the scan's error alone", pids, err)
	}
}

func TestClose_Twice_EndsNext(t *testing.T) {
	t.Parallel()
	s := newScene(t, nil)
	ended := make(chan error)
	go func() {
		for {
			if _, err := s.Next(); err != nil {
				ended <- err
				return
			}
		}
	}()
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Errorf("close twice: %v", err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, tracker.ErrClosed) {
			t.Errorf("Next = %v, want ErrClosed", err)
		}
	case <-s.within().Done():
		t.Error("Next did not end")
	}
}

// The test is not parallel: it counts the descriptors of the whole process.
func TestOpen_SeedFails_ClosesAll(t *testing.T) {
	needBPF(t)
	broken := errors.New("scan failed")
	open := func() error {
		_, err := tracker.Open(t.Context(), tracker.Config{
			Pattern: selector.Pattern{Names: []string{"x"}, Subcommand: "y"},
			Seed:    func(context.Context) ([]selector.PID, error) { return nil, broken },
		})
		return err
	}
	_ = open() // the libraries open some that they keep
	before := descriptors(t)
	if err := open(); !errors.Is(err, broken) || errors.Is(err, tracker.ErrUnavailable) {
		t.Errorf("Open = %v, want the scan's error", err)
	}
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}
