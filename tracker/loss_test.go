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

func TestAFullMapIsCountedAndNobodyIsLeftOut(t *testing.T) {
	t.Parallel()
	s := newScene(t, func(_ *scene, c *tracker.Config) { c.MaxEntries = 4 })
	var want []selector.PID
	for range 8 {
		want = append(want, s.spawn(s.name, "mcp").pid())
	}
	for range 2 { // not only the first time after the loss
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

// TestAFullRingIsCountedToldAndScannedForOnce: nobody reads while more happens than fits.
func TestAFullRingIsCountedToldAndScannedForOnce(t *testing.T) {
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

// TestALossIsToldOnceAlthoughWhoIsToldTakesHisTime: while he looks at everybody he reads no events, so the ring
// must be empty when he is told.
func TestALossIsToldOnceAlthoughWhoIsToldTakesHisTime(t *testing.T) {
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
	busy.Go(func() { // the host goes on
		for ctx.Err() == nil {
			start()
			pause(ctx, 50*time.Millisecond)
		}
	})
	defer busy.Wait()
	defer stop()
	told := 0
	for after := 0; after < 200; {
		e, err := s.Next()
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case e.Kind == selector.EventLost:
			if told++; told > 3 {
				t.Fatalf("a loss was told %d times", told)
			}
			pause(ctx, 200*time.Millisecond)
		case told > 0:
			after++
		}
	}
}

// pause is what somebody else does meanwhile.
func pause(ctx context.Context, long time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(long):
	}
}

func TestAServerThatStartedBeforeTheTrackerIsHeld(t *testing.T) {
	t.Parallel()
	var early *process
	s := newScene(t, func(s *scene, _ *tracker.Config) { early = s.spawn(s.name, "mcp") })
	if !s.holds(early.pid()) {
		t.Errorf("%d is not held", early.pid())
	}
}

// TestAServerThatStartsWhileTheSetIsSeededIsHeld: the seed is over before it starts, so only a
// tracker that was attached first knows it.
func TestAServerThatStartsWhileTheSetIsSeededIsHeld(t *testing.T) {
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

// TestAProcessThatEndedWhileTheSetWasSeededDoesNotStay: its exit came before its entry, whether or not its parent
// takes its time.
func TestAProcessThatEndedWhileTheSetWasSeededDoesNotStay(t *testing.T) {
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
				t.Errorf("%d is held, and will be for ever", p.pid())
			}
		})
	}
}

func isZombie(pid selector.PID) bool {
	stat, _ := os.ReadFile("/proc/" + pid.String() + "/stat")
	return bytes.Contains(stat, []byte(") Z "))
}

func TestAnAuditOfATrueSetFindsNoDifference(t *testing.T) {
	t.Parallel()
	s := newScene(t, nil)
	p := s.spawn(s.name, "mcp")
	d, err := s.Audit(t.Context())
	if err != nil || slices.Contains(d.Missing, p.pid()) || slices.Contains(d.Extra, p.pid()) {
		t.Errorf("Audit = %+v, %v, want no difference about %d", d, err, p.pid())
	}
	if !s.holds(p.pid()) {
		t.Errorf("%d is not held after the audit", p.pid())
	}
}

// TestAnAuditPutsInWhomTheSetLacks: a process that changed its name is one that only a scan knows.
func TestAnAuditPutsInWhomTheSetLacks(t *testing.T) {
	t.Parallel()
	var unknown *process
	s := newScene(t, func(s *scene, c *tracker.Config) {
		c.Seed = func(context.Context) ([]selector.PID, error) {
			if unknown == nil {
				return nil, nil
			}
			return []selector.PID{unknown.pid()}, nil
		}
	})
	unknown = s.spawn("sh", "no", "server")
	d, err := s.Audit(t.Context())
	if err != nil || !slices.Equal(d.Missing, []selector.PID{unknown.pid()}) {
		t.Errorf("Audit = %+v, %v, want %d missing", d, err, unknown.pid())
	}
	if !s.holds(unknown.pid()) || s.stats().AuditMissing != 1 {
		t.Errorf("%d is not held after the audit, or not counted: %+v", unknown.pid(), s.stats())
	}
}

func TestAScanThatFailsIsAnErrorAndNoShortList(t *testing.T) {
	t.Parallel()
	broken := errors.New("no scan today")
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

func TestCloseMayBeCalledTwiceAndEndsNext(t *testing.T) {
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

// TestAnOpenThatFailsLeavesNothingOpen is not parallel: it counts the descriptors of all.
func TestAnOpenThatFailsLeavesNothingOpen(t *testing.T) {
	needBPF(t)
	broken := errors.New("no scan today")
	open := func() error {
		_, err := tracker.Open(t.Context(), tracker.Config{
			Pattern: selector.Pattern{Names: []string{"x"}, Subcommand: "y"},
			Seed:    func(context.Context) ([]selector.PID, error) { return nil, broken },
		})
		return err
	}
	_ = open() // whatever the libraries keep for good
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
