// SPDX-License-Identifier: MIT

//go:build linux

package fallback_test

import (
	"slices"
	"testing"
	"time"

	"ebpf-upgrader/tracker"
)

// BenchmarkSources holds the scan and the tracker against the servers' own walk, in turns, so that
// all meet the same load, and reports the medians and their ratios. With IDLE=20000 it starts as
// many processes first, 200 of which look like servers; without, the host is taken as it is. As root
// only: the tracker is the real one.
func BenchmarkSources(b *testing.B) {
	crowd(b)
	s := scanner(b)
	t, err := tracker.Open(b.Context(), tracker.Config{Pattern: pattern(), Seed: s.Candidates})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = t.Close() }()
	var original, scan, tracked []time.Duration
	for b.Loop() {
		original = append(original, timed(func() { originalWalk() }))
		scan = append(scan, timed(func() { candidates(b, s) }))
		tracked = append(tracked, timed(func() {
			if _, err := t.Candidates(b.Context()); err != nil {
				b.Fatal(err)
			}
		}))
	}
	b.ReportMetric(0, "ns/op") // of all together says nothing
	b.ReportMetric(milliseconds(original), "original-ms")
	b.ReportMetric(milliseconds(scan), "scan-ms")
	b.ReportMetric(milliseconds(tracked), "tracker-ms")
	b.ReportMetric(milliseconds(original)/milliseconds(scan), "scan-times")
	b.ReportMetric(milliseconds(original)/milliseconds(tracked), "tracker-times")
}

// BenchmarkOriginalWalk is the baseline: see originalWalk.
func BenchmarkOriginalWalk(b *testing.B) {
	crowd(b)
	b.ReportAllocs()
	found := 0
	for b.Loop() {
		found = len(originalWalk())
	}
	b.ReportMetric(float64(found), "found")
}

func BenchmarkScan(b *testing.B) {
	crowd(b)
	s := scanner(b)
	b.ReportAllocs()
	found := 0
	for b.Loop() {
		found = len(candidates(b, s))
	}
	b.ReportMetric(float64(found), "found")
}

// BenchmarkList is the part of a scan that lists the numbers.
func BenchmarkList(b *testing.B) {
	crowd(b)
	s := scanner(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.All(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

func timed(f func()) time.Duration {
	begin := time.Now()
	f()
	return time.Since(begin)
}

func milliseconds(times []time.Duration) float64 {
	slices.Sort(times)
	return float64(times[len(times)/2].Microseconds()) / 1000
}
