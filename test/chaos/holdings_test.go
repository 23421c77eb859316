// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"

	"ebpf-upgrader/test/testfleet"
)

func TestMore_EachCount_IsALeak(t *testing.T) {
	t.Parallel()
	before := holdings{Descriptors: 30, Watches: 10, Goroutines: 20, Entries: 200, Reported: 200, Outdated: 2}
	for name, of := range map[string]struct {
		change func(*holdings)
		leaks  int
	}{
		"the same":                      {func(*holdings) {}, 0},
		"fewer":                         {func(h *holdings) { h.Descriptors, h.Watches, h.Goroutines = 1, 1, 1 }, 0},
		"more entries for more":         {func(h *holdings) { h.Entries, h.Reported = 300, 300 }, 0},
		"a descriptor":                  {func(h *holdings) { h.Descriptors++ }, 1},
		"a descriptor for one":          {func(h *holdings) { h.Descriptors++; h.Outdated++ }, 0},
		"two for one":                   {func(h *holdings) { h.Goroutines += 2; h.Outdated++ }, 1},
		"a watch without a reason":      {func(h *holdings) { h.Watches++; h.Outdated++ }, 1},
		"fewer outdated":                {func(h *holdings) { h.Outdated = 0 }, 0},
		"an entry that is not reported": {func(h *holdings) { h.Entries++ }, 1},
		"an entry without a process":    {func(h *holdings) { h.Wrong = "[7]" }, 1},
	} {
		now := before
		of.change(&now)
		if leaks := now.more(before); len(leaks) != of.leaks {
			t.Errorf("%s: %q, want %d", name, leaks, of.leaks)
		}
	}
}

func TestDifference_BothSets_AreNamed(t *testing.T) {
	t.Parallel()
	set := func(pids ...int) map[int]bool {
		all := map[int]bool{}
		for _, pid := range pids {
			all[pid] = true
		}
		return all
	}
	if wrong := difference(set(1, 2), set(2, 1), strconv.Itoa); wrong != "" {
		t.Error(wrong)
	}
	want := "[\"3 (ended)\"] do not look like servers, and [\"1 (ended)\"] do but are missing"
	ended := func(pid int) string { return fmt.Sprintf("%d (ended)", pid) }
	if wrong := difference(set(2, 3), set(1, 2), ended); wrong != want {
		t.Errorf("%q, want %q", wrong, want)
	}
	if wrong := difference(set(2, 3, 4, 5), set(2), strconv.Itoa); wrong != "" {
		t.Errorf("of living processes: %q", wrong)
	}
	if wrong := difference(set(2, 3, 4, 5, 6), set(2), strconv.Itoa); !strings.HasPrefix(wrong, `["3" "4" "5" "6"] do not`) {
		t.Errorf("of more living processes: %q", wrong)
	}
	if got, want := describeProcess(os.Getpid()), fmt.Sprintf("%d (chaos.test) ", os.Getpid()); got[:len(got)-1] != want {
		t.Errorf("this is %q, want %q and a letter", got, want)
	}
}

func TestReadMap_ServersMap_IsReadByID(t *testing.T) {
	if os.Getuid() != 0 {
		if os.Getenv("REQUIRE_BPF") != "" {
			t.Fatal("needs root")
		}
		t.Skip("needs root")
	}
	if err := rlimit.RemoveMemlock(); err != nil {
		t.Fatal(err)
	}
	got := map[int]bool{}
	for n, name := range []string{"servers", "lines"} {
		m, err := ebpf.NewMap(&ebpf.MapSpec{Name: name, Type: ebpf.Hash, KeySize: 4, ValueSize: 24, MaxEntries: 8})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = m.Close() }()
		for _, pid := range []uint32{1, 2} {
			if err := m.Put(pid+uint32(n)*10, make([]byte, 24)); err != nil {
				t.Fatal(err)
			}
		}
		text, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", m.FD()))
		if err != nil {
			t.Fatal(err)
		}
		if err := readMap(text, got); err != nil {
			t.Fatal(err)
		}
	}
	if want := map[int]bool{1: true, 2: true}; !maps.Equal(got, want) {
		t.Errorf("keys %v, want %v", got, want)
	}
	if err := readMap([]byte("pos:\t0\nmap_id:\t2147483647\n"), got); err == nil {
		t.Error("a missing map was read")
	}
}

func TestImages_LeaderlessServer_AreKnown(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	in, err := newInstall(dir+"/install", false, program, program)
	if err != nil {
		t.Fatal(err)
	}
	path := in.path()
	behaviour := testfleet.Behaviour{LeaderExits: true}
	s, err := testfleet.Start(ctx, testfleet.Options{Binary: program, UpgradeBin: &path, Behaviour: behaviour})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Stop() }()
	if err := s.AwaitArmed(ctx, 0); err != nil {
		t.Fatal(err)
	}
	for err = nil; err == nil && ctx.Err() == nil; { // until the main thread has ended
		_, err = imageAt("/proc/" + s.PID().String() + "/exe")
	}
	want, err := imageAt(program)
	if err != nil {
		t.Fatal(err)
	}
	m := &member{s, in, behaviour}
	if runs, _, err := m.images(); err != nil || runs != want {
		t.Errorf("runs %v, %v, want %v", runs, err, want)
	}
	f := &fleet{living: []*member{m}}
	if q, names := f.behind(); q.Held != 1 || q.Leaderless != 1 || len(names) != 1 {
		t.Errorf("behind: %v, %v, want the one", q, names)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, names := f.behind(); len(names) != 1 {
		t.Errorf("behind: %v, want the one without a readable image", names)
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := m.images(); err == nil {
		t.Error("the image of an ended server was read")
	}
}
