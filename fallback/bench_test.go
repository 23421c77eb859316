// SPDX-License-Identifier: MIT

//go:build linux

package fallback_test

import (
	"slices"
	"testing"
	"time"
)

// BenchmarkWalks holds the scan against the servers' own walk, in turns, so that both meet the same
// load, and reports the medians and their ratio. With IDLE=20000 it starts as many processes first,
// 200 of which look like servers; without, the host is taken as it is.
func BenchmarkWalks(b *testing.B) {
	crowd(b)
	s := scanner(b)
	var original, scan []time.Duration
	for b.Loop() {
		original = append(original, timed(func() { originalWalk() }))
		scan = append(scan, timed(func() { candidates(b, s) }))
	}
	b.ReportMetric(0, "ns/op") // of both together says nothing
	b.ReportMetric(milliseconds(original), "original-ms")
	b.ReportMetric(milliseconds(scan), "scan-ms")
	b.ReportMetric(milliseconds(original)/milliseconds(scan), "times-as-fast")
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
